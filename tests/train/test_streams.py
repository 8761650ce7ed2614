"""Residual streams: scales that differ by powers of two, what that costs, and residuals that stay as they are."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from tests.train.test_export import LOG, MODELS, Block, randomise
from twofold.golden import layers as golden_layers
from twofold.golden.network import INPUT, SkipTensor
from twofold.train import integer
from twofold.train.convert import calibrate, convert
from twofold.train.data import InputFormat
from twofold.train.export import export
from twofold.train.quantizers import build_activation
from twofold.train.quantizers.activation import Stream
from twofold.train.quantizers.tying import Member, tie
from twofold.train.recipe import ResidualSettings, WeightRule, parse_recipe
from twofold.train.snap import snap
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
    tie(stream.base, members)
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
