"""Residual streams in training: one base for all scales, resumed, saved, and what recipes and commands say of it."""

import json
import math
import re
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load, save
from torch import nn

from tests.train.test_export import LOG
from tests.train.test_streams import (
    FORM,
    ONE,
    Chain,
    Inner,
    agree,
    built,
    cost,
    images,
    octaves,
    quantized,
    recipe,
    skips,
)
from twofold.train.__main__ import main
from twofold.train.bases import merged
from twofold.train.convert import calibrate, convert
from twofold.train.data import DataSet
from twofold.train.export import export
from twofold.train.hooks import QuantTraining
from twofold.train.loop import FitOptions, _statistics, fit
from twofold.train.ptq import quantize
from twofold.train.quantizers import build_activation
from twofold.train.quantizers.activation import Stream
from twofold.train.recipe import PostSettings, TrainSettings, load_recipe, parse_recipe
from twofold.train.reconstruct import _learned_scales
from twofold.train.run_files import STATE
from twofold.train.saved import load_model, save_model
from twofold.train.stored_recipe import store_recipe, stored_recipe
from twofold.train.streams import describe_ties, tie_costs


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
        ({"ties": True}, "key must be one of ('residual.tie', 'residual.bits'), not 'residual.ties'"),
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
    assert lines and re.fullmatch(r"stream 1: \d+ scales tied, squared error [\d.e-]+ -> [\d.e-]+", lines[0])
    assert re.fullmatch(r"  \S+: scale [\d.e-]+ -> [\d.e-]+, squared error [\d.e-]+ -> [\d.e-]+", lines[1])
    assert "bases.0" in load((run / "model.safetensors").read_bytes())
