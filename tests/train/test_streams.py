"""Residual streams: scales that differ by powers of two, what that costs, and residuals that stay as they are."""

import json
import math
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load, save
from torch import nn

from tests.train.test_export import LOG, MODELS, Block, randomise
from twofold.golden import layers as golden_layers
from twofold.golden.network import INPUT, SkipTensor
from twofold.train import integer
from twofold.train.__main__ import main
from twofold.train.bases import merged
from twofold.train.convert import calibrate, convert
from twofold.train.data import DataSet, InputFormat
from twofold.train.export import export
from twofold.train.hooks import QuantTraining
from twofold.train.loop import FitOptions, _statistics, fit
from twofold.train.ptq import quantize
from twofold.train.quantizers import build_activation
from twofold.train.quantizers.activation import Stream
from twofold.train.quantizers.tying import Member, tie
from twofold.train.recipe import PostSettings, ResidualSettings, TrainSettings, WeightRule, load_recipe, parse_recipe
from twofold.train.reconstruct import _learned_scales
from twofold.train.run_files import STATE
from twofold.train.saved import load_model, save_model
from twofold.train.snap import snap
from twofold.train.stored_recipe import store_recipe, stored_recipe
from twofold.train.streams import describe_ties, tie_costs

FORM = InputFormat((3, 6, 6), 8, False, 1 / 100)
ONE = {"match": "*", "weight": {"quantizer": "uniform", "bits": 8}}


class Chain(nn.Module):
    """Two residual blocks on one stream; a third whose shortcut is strided and padded begins nothing."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.one, self.two, self.last = Block(4, 4, 1), Block(4, 4, 1), Block(4, 8, 2)
        self.linear = nn.Linear(8 * 9, 4)

    def forward(self, x):
        return self.linear(torch.flatten(self.last(self.two(self.one(torch.relu(self.stem(x))))), 1))


class Inner(nn.Module):
    """A residual around a convolution, of the network's input."""

    def __init__(self):
        super().__init__()
        self.conv, self.linear = nn.Conv2d(3, 3, 3, padding=1), nn.Linear(108, 4)

    def forward(self, x):
        return self.linear(torch.flatten(torch.relu(self.conv(x) + x), 1))


class Pooled(nn.Module):
    """The skip is an average, whose scale requantisation has to do with the divisor."""

    def __init__(self):
        super().__init__()
        self.pool, self.conv, self.linear = nn.AvgPool2d(3, 1, 1), nn.Conv2d(3, 3, 1), nn.Linear(108, 4)

    def forward(self, x):
        y = self.pool(x)
        return self.linear(torch.flatten(torch.relu(self.conv(y) + y), 1))


def recipe(*, tie=True, method="ptq", **activation):
    layer = ONE | {"activation": {"bits": 4} | activation}
    return parse_recipe({"name": "test", "method": method, "layer": [layer], "residual": {"tie": tie}})


def images(count=32):
    return torch.randint(0, 100, (count, 3, 6, 6), generator=torch.Generator().manual_seed(1)) / 100


def built(make=Chain):
    torch.manual_seed(0)
    return randomise(make())


def quantized(make=Chain, *, form=FORM, **options):
    model = convert(built(make), recipe(**options), form)
    calibrate(model, images())
    return model


def octaves(model):
    """How many octaves each tied scale lies below its base; all of them are powers of two exactly."""
    found = {}
    for base, quantizers in zip(model.bases, model.tied(), strict=True):
        for name, quantizer in quantizers.items():
            octave = math.log2(quantizer.scale.item() / base.item())
            assert octave % 1 == 0
            found[name] = octave
    return found


def agree(model, config=LOG):
    """The exported network; its integers are the same in PyTorch and in the golden model."""
    snap(model, config)
    network = export(model, config)
    x = torch.round(images(8) * 100).long()
    ours, theirs = integer.run(network, x), golden_layers.run(network, x.numpy())
    for layer in network.layers:
        assert np.array_equal(ours[layer.name].numpy(), theirs[layer.name]), layer.name
    tensors = {name: t.float() * network.tensors[name].scale for name, t in ({INPUT: x} | ours).items()}
    with torch.no_grad():
        for layer, fake in zip(network.layers, model.quant_layers, strict=True):
            gap = (torch.round(fake(tensors) / layer.output.scale).long() - ours[layer.name]).abs()
            assert gap.max() <= 1 and gap.double().mean() < 0.05, layer.name
    return network


def skips(network):
    return {layer.name: layer.skip for layer in network.layers if layer.skip is not None}


def test_a_chain_of_blocks_is_one_stream():
    model = quantized()
    assert [list(quantizers) for quantizers in model.tied()] == [["stem", "one.conv2", "two.conv2"]]
    found = octaves(model)
    assert max(found.values()) == 0
    network = agree(model)
    assert skips(network) == {
        "one.conv2": SkipTensor("stem", int(found["stem"] - found["one.conv2"])),
        "two.conv2": SkipTensor("one.conv2", int(found["one.conv2"] - found["two.conv2"])),
    }
    branches = {layer.name: len(layer.branches) for layer in network.layers}
    assert branches["one.conv2"] == branches["two.conv2"] == 1 and branches["last.conv2"] == 2
    assert network.meta["layers"]["one.conv2"]["residual_shift"] == found["stem"] - found["one.conv2"]
    assert "residual_shift" not in network.meta["layers"]["last.conv2"]


@pytest.mark.parametrize("name", ["residual", "sums", "late"])
def test_every_kind_of_sum_agrees(name):
    """Sums of two convolutions, of one tensor with itself, of relu'd ones; a layer has one skip at most."""
    make, shape = MODELS[name]
    form = InputFormat(shape, 8, False, 1 / 100)
    model = convert(built(make), recipe(), form)
    calibrate(model, images()[:, :, : shape[1], : shape[2]])
    snap(model, LOG)
    network = export(model, LOG)
    x = torch.round(images(8)[:, :, : shape[1], : shape[2]] * 100).long()
    ours, theirs = integer.run(network, x), golden_layers.run(network, x.numpy())
    octaves(model)
    assert skips(network) and all(np.array_equal(ours[key].numpy(), theirs[key]) for key in ours)
    assert all(layer.branches for layer in network.layers)
    assert max(facts["multiplier_error"] for facts in network.meta["layers"].values()) < 1e-6


def test_a_skip_of_the_input_takes_its_scale():
    model = quantized(Inner)
    assert float(model.bases[0].detach()) == float(model.input_quantizer.scale) == pytest.approx(0.01)
    assert list(octaves(model)) == [INPUT, "conv"]
    network = agree(model)
    assert skips(network)["conv"].source == INPUT
    assert network.input.scale == pytest.approx(0.01)
    assert list(network.meta["ties"]) == [INPUT, "conv"]


def test_an_input_whose_scale_is_free_is_tied_too():
    model = quantized(Inner, form=replace(FORM, scale=None))
    assert float(model.input_quantizer.scale) >= float(images().max()) / 255 * 0.999  # its whole range fits
    assert skips(export(model, LOG))["conv"].shift == -octaves(model)["conv"] + octaves(model)[INPUT]


def test_weights_of_power_of_two_scales_know_the_tied_input():
    """The product of both scales is a power of two, although the input's scale moves when it is tied."""
    rule = recipe()
    rule = replace(rule, rules=(replace(rule.rules[0], weight=WeightRule("po2_msqe", options={"bits": 8})),))
    model = convert(built(Inner), rule, replace(FORM, scale=None))
    calibrate(model, images())
    free = convert(built(Inner), replace(rule, residual=ResidualSettings(tie=False)), replace(FORM, scale=None))
    calibrate(free, images())
    scale = model.input_quantizer.scale.item()
    assert scale != free.input_quantizer.scale.item()
    power = math.log2(model.conv_layers[0].weight_quantizer.scale[0].item() * scale)
    assert power == pytest.approx(round(power), abs=1e-5)


def test_an_average_stays_a_branch():
    model = quantized(Pooled)
    assert not model.tied() and not model.bases
    assert skips(agree(model)) == {}


@pytest.mark.parametrize("quantizer", ["minmax", "pact", "sigma"])
def test_scales_that_come_from_elsewhere_stay_free(quantizer):
    model = quantized(quantizer=quantizer)
    assert not model.bases and skips(agree(model)) == {}


def test_powers_of_two_need_no_tie():
    model = quantized(quantizer="po2")
    assert not model.bases and set(skips(agree(model))) == {"one.conv2", "two.conv2"}


def test_switched_off_nothing_is_tied():
    """Scales are those that each tensor has by itself, and a power of two does not make a skip."""
    free = quantized(tie=False)
    assert not free.bases and describe_ties(free) == []
    assert "ties" not in export(free, LOG).meta and skips(agree(free)) == {}
    assert skips(agree(quantized(tie=False, quantizer="po2"))) == {}
    costs = tie_costs(quantized())
    for layer in free.quant_layers[:1]:
        assert costs[layer.name]["scale_before"] == pytest.approx(float(layer.quantizer.scale), rel=1e-6)


def test_a_shift_that_goes_below_the_point_stays_a_branch():
    """The output's scale is so large that the multiplier's shift does not reach down to the skip's."""
    model = convert(built(Inner), recipe(quantizer="lsq"), FORM)
    with torch.no_grad():
        model.conv_layers[0].parametrizations["weight"].original.mul_(1 << 20)
    calibrate(model, images())
    shift = math.log2(float(model.input_quantizer.scale) / float(model.quant_layers[0].quantizer.scale))
    layer = agree(model).layers[0]
    assert shift % 1 == 0 and shift + int(layer.right.min()) < 0
    assert layer.skip is None and len(layer.branches) == 2


def member(values, **options):
    quantizer = build_activation("lsq", **({"bits": 3, "signed": False, "calibration": "mse", "limit": None} | options))
    quantizer.calibrate(values)
    return Member.of(quantizer, values)


def tied(*members):
    stream = Stream(nn.Parameter(torch.ones(1), requires_grad=False), True, len(members))
    for one in members:
        scale = one.quantizer.scale.clone()
        one.quantizer.tie(stream)
        one.quantizer.scale.copy_(scale)
    tie(members)
    return [float(one.quantizer.scale) for one in members]


def cost(values, scale, high):
    rounded = torch.round(values / scale).clamp(0, high) * scale
    return float((rounded - values).square().mean() / values.square().mean())


def test_the_base_is_the_cheapest_of_all():
    """Beside every base and every octave, of three tensors that would be 1, 1.5 and 10 for themselves."""
    generator = torch.Generator().manual_seed(3)
    values = [torch.rand(2000, generator=generator) ** 2 * size for size in (1.0, 1.5, 10.0)]
    scales = tied(*(member(x) for x in values))
    assert all(math.log2(scale / scales[0]) % 1 == 0 for scale in scales)
    reached = sum(cost(x, scale, 7) for x, scale in zip(values, scales, strict=True))
    best = min(
        sum(min(cost(x, base * 2.0**octave, 7) for octave in range(-5, 3)) for x in values)
        for base in np.geomspace(1, 2, 200)
    )
    assert reached <= best * 1.01


def test_costs_are_those_of_the_tensors():
    values = torch.rand(3000, generator=torch.Generator().manual_seed(4))
    one, other = member(values), member(values * 1.4)
    own = float(other.quantizer.scale)
    _, scale = tied(one, other)
    before, error, after, tied_error = other.quantizer.tie_cost.tolist()
    power = float((values * 1.4).square().mean())
    assert (before, after) == (pytest.approx(own), scale) and before != after
    assert error == pytest.approx(cost(values * 1.4, own, 7) * power, rel=1e-4)
    assert tied_error == pytest.approx(cost(values * 1.4, scale, 7) * power, rel=1e-4)


def test_the_whole_range_fits_where_it_must():
    """Calibration ``max`` is never tied to a smaller scale than the range needs; a tensor of zeros is no obstacle."""
    wide = torch.cat([torch.rand(5000, generator=torch.Generator().manual_seed(5)) * 0.9, torch.tensor([7.3])])
    scales = tied(member(wide, calibration="max"), member(torch.rand(500)), member(torch.zeros(9)))
    assert 7.3 / 7 * 0.999 <= scales[0] <= 7.3 / 7 * 2
    assert all(math.log2(scale / scales[0]) % 1 == 0 for scale in scales)


def test_one_parameter_is_trained_for_a_stream():
    model = quantized(method="qat")
    base, quantizers = model.bases[0], list(model.tied()[0].values())
    x, y = images(8), torch.arange(8) % 4
    with QuantTraining(model, steps=4, settle=0.25) as training:
        groups = training.groups(weight_decay=0.5)
        places = [sum(p is base for p in group["params"]) for group in groups]
        assert places == [0, 1] and groups[1]["weight_decay"] == 0.0
        assert not any(q.scale is p for q in quantizers for group in groups for p in group["params"])
        optimizer = torch.optim.SGD(groups, lr=0.1)
        start, before = base.item(), octaves(model)
        for step in range(4):
            with training.step(optimizer):
                assert base.requires_grad == (step < 3)
                F.cross_entropy(model(x), y).backward()
            assert octaves(model) == before
            assert base.item() != start
            if step == 2:
                settled = base.item()
    assert base.item() == settled
    assert set(skips(agree(model))) == {"one.conv2", "two.conv2"}


def test_the_bases_gradient_is_that_of_all_scales():
    """Of two tensors, the second one octave down: LSQ's rule for as many numbers as both have."""
    stream = Stream(nn.Parameter(torch.tensor([0.5])), True, 2)
    first, second = (build_activation("lsq", bits=2, signed=False, calibration="mse", limit=None) for _ in range(2))
    for quantizer, octave in ((first, 0), (second, -1)):
        quantizer.learn = True
        quantizer.tie(stream)
        quantizer.octave = octave
        quantizer.follow()
    x = torch.tensor([[0.2, 0.85, 5.0, -1.0]])
    assert second.scale.item() == 0.25
    (first(x).sum() + second(x / 2).sum()).backward()
    slope = (0 - 0.4) + (2 - 1.7) + 3 + 0  # of each scale: x / 2 has half the scale
    assert stream.base.grad.item() == pytest.approx(slope * (1 + 0.5) / math.sqrt(4 * 3) / math.sqrt(2), rel=1e-5)


def test_what_learns_not_is_not_trained():
    assert not quantized(method="qat", learn=False).quant_layers[0].quantizer.trained()
    assert not quantized(Inner, method="qat").quant_layers[0].quantizer.trained()  # the input's scale is given


def test_tied_scales_are_left_alone():
    """By learned rounding, which sees one block, and by the mean over processes, which would round them."""
    model = quantized()
    quantizers = [layer.quantizer for layer in model.quant_layers]
    for quantizer in quantizers:
        quantizer.learn = True
    learned = _learned_scales(model.quant_layers, PostSettings(act_lr=0.1))
    assert len(learned) == sum(quantizer.stream is None for quantizer in quantizers)
    kept = {tensor.data_ptr() for tensor in _statistics(model)}
    assert not any(q.stream is not None and q.scale.data_ptr() in kept for q in quantizers)


def test_other_bits_keep_the_tie():
    model = quantized(method="qat")
    before = octaves(model)
    clip = {name: float(q.scale) * 15 for name, q in model.tied()[0].items()}
    model.conv_layers[0].weight_quantizer.set_bits = lambda least: True
    model.set_bits(6)
    assert octaves(model) == before
    for name, quantizer in model.tied()[0].items():
        assert float(quantizer.scale) * 63 == pytest.approx(clip[name], rel=1e-6)


class StoppedError(Exception):
    pass


def stop(metrics):
    raise StoppedError


@pytest.mark.parametrize("every", [0, 2], ids=["epochs", "steps"])
def test_a_resumed_training_ends_with_the_same_bits(tmp_path, every):
    x, y = images(24), torch.arange(24) % 4
    data = DataSet("x", x, y, x, y, FORM, 4)
    settings = TrainSettings(epochs=3, batch=8, lr=0.01, settle=0.3)
    whole, options = quantized(method="qat"), FitOptions(state=tmp_path / STATE, every=every)
    fit(whole, data, settings)
    with pytest.raises(StoppedError):
        fit(quantized(method="qat"), data, settings, options=options, report=lambda m: m["epoch"] < 2 or stop(m))
    resumed = quantized(method="qat")
    for quantizer in resumed.tied()[0].values():
        quantizer.octave = 5
    fit(resumed, data, settings, options=replace(options, resume=True))
    assert whole.state_dict().keys() == resumed.state_dict().keys()
    assert all(torch.equal(whole.state_dict()[key], value) for key, value in resumed.state_dict().items())
    assert octaves(whole) == octaves(resumed)
    assert whole.bases[0].item() != quantized(method="qat").bases[0].item()


def test_a_saved_model_is_tied_and_says_what_it_cost(tmp_path):
    model, file = quantized(), tmp_path / "model.safetensors"
    save_model(file, model, recipe())
    back = load_model(file, Chain())
    assert octaves(back) == octaves(model)
    assert [q.octave for q in back.tied()[0].values()] == list(octaves(model).values())
    assert tie_costs(back) == tie_costs(model) and describe_ties(back) == describe_ties(model)
    assert skips(export(back, LOG)) == skips(export(model, LOG))


def test_a_damaged_tie_is_refused(tmp_path):
    model, file = quantized(), tmp_path / "model.safetensors"
    with torch.no_grad():
        model.bases[0].mul_(1.1)
    save_model(file, model, recipe())
    with pytest.raises(
        ValueError, match=r"Tied scale must be a power of two times its base, 0\.[0-9]+, not 0\.[0-9]+$"
    ):
        load_model(file, Chain())


@pytest.mark.parametrize("settings", [{}, {"steps": 2, "unit": "block", "act_lr": 0.1}, {"reconstruct": False}])
def test_post_training_keeps_the_tie(settings):
    """In reconstruction the tie is that of the float results."""
    model = convert(built(), recipe(), FORM)
    quantize(model, images(), PostSettings(images=32, batch=8, **settings))
    found = octaves(model)
    assert list(found) == ["stem", "one.conv2", "two.conv2"]
    for name, quantizer in model.tied()[0].items():
        assert float(quantizer.scale) == pytest.approx(tie_costs(model)[name]["scale"]), name
    if settings.get("reconstruct", True):
        float_model = convert(built(), recipe(), FORM)
        float_model.enable(False)
        with torch.no_grad():
            values = float_model.trace(images())
        for name, quantizer in model.tied()[0].items():
            power = float(values[name].square().mean())
            error = cost(values[name], float(quantizer.scale), 15) * power
            assert tie_costs(model)[name]["error"] == pytest.approx(error, rel=1e-3)
    assert set(skips(agree(model))) == {"one.conv2", "two.conv2"}


def test_batch_norms_that_are_kept_are_seen_once():
    """Their running statistics move by one batch, as without ties."""
    text = {"name": "n", "method": "qat", "layer": [ONE], "train": {"batch_norm": "keep"}}
    means = []
    for on in (True, False):
        model = convert(built(), parse_recipe(text | {"residual": {"tie": on}}), FORM, training=True)
        calibrate(model, images())
        means.append(model.conv_layers[1].norm.running_mean.clone())
        assert int(model.conv_layers[1].norm.num_batches_tracked) == 1
    assert torch.allclose(*means, atol=1e-3)


def test_a_recipes_table():
    assert load_recipe("lsq_w3a3").residual.tie
    assert merged({"residual": {"tie": False}}, {"name": "own", "residual": {}})["residual"] == {"tie": False}
    for value, message in (
        ({"tie": 1}, "residual.tie must be true or false, not 1"),
        ({"ties": True}, "key must be one of ('residual.tie',), not 'residual.ties'"),
        (True, "residual must be a table, not True"),
    ):
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            parse_recipe({"name": "x", "method": "qat", "layer": [], "residual": value})


def test_a_stored_recipe_from_before_is_not_tied():
    stored = json.loads(json.dumps(store_recipe(recipe(tie=False))))
    assert stored_recipe(stored) == recipe(tie=False)
    assert stored_recipe(json.loads(json.dumps(store_recipe(recipe())))) == recipe()
    del stored["residual"]
    assert not stored_recipe(stored).residual.tie


def test_the_command_says_what_tying_costs(tmp_path, capsys):
    weights = tmp_path / "w.safetensors"
    from twofold.train.models import build_model

    torch.manual_seed(0)
    model = build_model("demo")
    weights.write_bytes(save({key: value.contiguous() for key, value in model.state_dict().items()}))
    run = tmp_path / "run"
    assert main(["ptq", "--out", str(run), "--weights", str(weights), "--recipe", "ptq_minmax_w8a8"]) == 0
    out = capsys.readouterr().out
    lines = [line for line in out.splitlines() if "scale" in line]
    assert lines and re.fullmatch(r"residual stream 1: \d+ scales tied, squared error [\d.e-]+ -> [\d.e-]+", lines[0])
    assert re.fullmatch(r"  \S+: scale [\d.e-]+ -> [\d.e-]+, squared error [\d.e-]+ -> [\d.e-]+", lines[1])
    assert "bases.0" in load((run / "model.safetensors").read_bytes())
