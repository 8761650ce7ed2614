"""Post-training quantization: blocks, second moments, learned rounding."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from twofold.golden import layers as golden_layers
from twofold.golden.config import ArrayConfig, load_config
from twofold.golden.network import INPUT
from twofold.train import integer, ptq
from twofold.train.convert import convert
from twofold.train.data import InputFormat
from twofold.train.export import export
from twofold.train.models import build_model
from twofold.train.ptq import blocks, correct_bias, float_means, float_sums, quantize, second_moments, shares
from twofold.train.quantizers import SubsetQuantizer, UniformQuantizer
from twofold.train.quantizers.search import search_points
from twofold.train.recipe import PostSettings, load_recipe, parse_recipe
from twofold.train.reconstruct import SoftChoice

FORMAT = InputFormat((1, 8, 8), bits=8, signed=False, scale=1 / 16)
BLOCK = PostSettings(images=64, unit="block", rounding="choose", steps=60, batch=32, lr=0.05, scale_lr=0.005)


def recipe(bits=2, act=8):
    return parse_recipe(
        {
            "name": "test",
            "method": "ptq",
            "layer": [
                {"match": "*", "weight": {"quantizer": "subset", "bits": bits}, "activation": {"bits": act}},
                {"match": "@last", "weight": {"quantizer": "uniform", "bits": 8}},
            ],
        }
    )


@pytest.fixture
def images():
    return torch.randint(0, 17, (64, 1, 8, 8), generator=torch.Generator().manual_seed(3)) / 16


@pytest.fixture
def model():
    torch.manual_seed(1)
    model = build_model("demo").eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    return model


def block_error(model, quantized, images):
    """Mean squared error of the residual block's output, as a part of its variance."""
    with torch.no_grad():
        reference = convert(model, recipe(), FORMAT)
        reference.enable(False)
        wanted, got = (net.trace(images)["block.conv2"] for net in (reference, quantized))
        return float(((got - wanted) ** 2).mean() / wanted.var())


def test_blocks_end_where_one_tensor_goes_on(model):
    converted = convert(model, recipe(), FORMAT)
    names = [[layer.name for layer in group] for group in blocks(converted, "block")]
    assert names == [["stem.0"], ["block.conv1", "block.conv2"], ["pool"], ["linear"]]
    assert [len(group) for group in blocks(converted, "layer")] == [1] * 5


def test_second_moments_by_hand():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(2, 4, (1, 2), groups=2, padding=(0, 1), bias=False)

        def forward(self, x):
            return self.conv(x)

    layer = convert(Net(), recipe(), InputFormat((2, 1, 2), signed=True, scale=1.0)).conv_layers[0]
    x = torch.tensor([[[[1.0, 2.0]], [[3.0, 0.0]]], [[[1.0, 0.0]], [[0.0, 0.0]]]])
    # Three windows an image: the left tap sees 0, a, b, the right one a, b, 0.
    per_group = [(1 + 4 + 1) / 6, 9 / 6]
    moments = second_moments(layer, x)
    assert moments.shape == (4, 1, 1, 2)
    assert moments[:, 0, 0].tolist() == [[m, m] for m in (per_group[0], per_group[0], per_group[1], per_group[1])]


def test_second_moments_are_what_the_weights_see():
    """For independent inputs of mean 0, the error of a layer's sums is the weights' errors times the moments."""
    layer = convert(
        nn.Sequential(nn.Conv2d(3, 2, 1, bias=False)), recipe(), InputFormat((3, 1, 1), signed=True, scale=1.0)
    )
    layer = layer.conv_layers[0]
    x = torch.randn(20000, 3, 1, 1, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 2, 5]).view(
        3, 1, 1
    )
    moments = second_moments(layer, x)
    assert moments[0, :, 0, 0].tolist() == pytest.approx([1, 4, 25], rel=0.05)


def test_the_search_may_be_weighted(model, images):
    plain, weighted = (convert(model, recipe(3), FORMAT) for _ in range(2))
    quantize(plain, images, PostSettings(images=64))
    quantize(weighted, images, PostSettings(images=64, weighted=True))
    layer, other = plain.conv_layers[1], weighted.conv_layers[1]
    weight = other.float_weight.detach().numpy()
    importance = second_moments(other, weighted.trace(images)["stem.0"]).numpy()
    found = search_points(weight, other.weight_quantizer.fmt, importance=importance)
    assert tuple(other.weight_quantizer.levels.tolist()) == found.levels
    assert other.weight_quantizer.scale.detach().numpy() == pytest.approx(found.scales, rel=1e-6)
    assert not torch.equal(layer.weight_quantizer.scale, other.weight_quantizer.scale)


def test_a_soft_choice_begins_at_the_weight():
    torch.manual_seed(0)
    weight = torch.randn(6, 4, 3, 3)
    quantizer = SubsetQuantizer((6, 4, 3, 3), bits=3)
    quantizer.calibrate(weight)
    grid = quantizer.grid()
    assert grid.tolist() == sorted([*quantizer.levels.tolist(), *(-quantizer.levels).tolist()])
    soft = SoftChoice(weight, quantizer, grid)
    x = weight / quantizer.scale.view(-1, 1, 1, 1)
    inside = (x > grid[0]) & (x < grid[-1])
    step = (soft.high - soft.low) * quantizer.scale.view(-1, 1, 1, 1)
    assert ((soft(weight) - weight).abs() <= 0.011 * step)[inside].all()
    assert (soft.low < soft.high).all() and ((soft.low <= x) & (x <= soft.high))[inside].all()
    # Undecided choices cost, decided ones do not; and the hard choice is the nearest point at first.
    assert soft.undecided(2.0) > 0
    nearest = quantizer.integers(x)
    assert (soft.chosen() == nearest).double().mean() > 0.99
    soft.logit.data = torch.where(soft.logit > 0, 9.0, -9.0)
    assert soft.undecided(2.0) == 0 and set(soft.choice().unique().tolist()) == {0.0, 1.0}


def test_grids():
    uniform = UniformQuantizer((1, 1, 1, 1), bits=3)
    assert uniform.grid().tolist() == [-3, -2, -1, 0, 1, 2, 3]
    assert UniformQuantizer((1, 1, 1, 1), bits=8).grid() is None


@pytest.mark.parametrize("rounding, rate", [("choose", 0.05), ("straight", 0.005)])
def test_learned_rounding_is_better_than_the_nearest_point(model, images, rounding, rate):
    before, after = (convert(model, recipe(), FORMAT) for _ in range(2))
    quantize(before, images, PostSettings(images=64))
    quantize(after, images, replace(BLOCK, rounding=rounding, lr=rate, steps=150))
    assert block_error(model, after, images) < 0.9 * block_error(model, before, images)


def test_each_weight_takes_one_of_its_two_neighbours(model, images, monkeypatch):
    monkeypatch.setattr(ptq, "_error", lambda *arguments: 0.0)  # every block stays as it has learned
    converted = convert(model, recipe(3), FORMAT)
    weights = [layer.float_weight.detach().clone() for layer in converted.conv_layers]
    quantize(converted, images, BLOCK)
    moved = 0
    for layer, weight in zip(converted.conv_layers[:-1], weights, strict=False):
        quantizer = layer.weight_quantizer
        assert isinstance(quantizer, SubsetQuantizer)
        scale, grid = quantizer.scale.view(-1, 1, 1, 1), quantizer.grid()
        x = weight / scale
        place = torch.bucketize(x, grid).clamp(1, len(grid) - 1)
        chosen = torch.round(layer.float_weight / scale)
        assert ((chosen == grid[place - 1]) | (chosen == grid[place])).all()
        assert (quantizer.integers(layer.float_weight / scale) == chosen).all()
        moved += int((chosen != quantizer.integers(x)).sum())
    assert moved > 0
    # The 8-bit layer has no choice to learn, and no aid stays behind.
    assert isinstance(converted.conv_layers[-1].weight_quantizer, UniformQuantizer)
    assert not any(isinstance(module, SoftChoice) for module in converted.modules())


def test_weights_stay_on_their_points_when_scales_move_a_little(model, images):
    converted = convert(model, recipe(2), FORMAT)
    quantize(converted, images, replace(BLOCK, rounding="straight", lr=0.01))
    for layer in converted.conv_layers[:-1]:
        scale = layer.weight_quantizer.scale.view(-1, 1, 1, 1)
        integers = [layer.weight_quantizer.integers(layer.float_weight / (scale * f)) for f in (0.99, 1.0, 1.01)]
        assert torch.equal(integers[0], integers[1]) and torch.equal(integers[1], integers[2])


def test_activation_scales_are_learned_within_a_block(model, images):
    still, learned = (convert(model, recipe(4, act=3), FORMAT) for _ in range(2))
    quantize(still, images, BLOCK)
    quantize(learned, images, replace(BLOCK, act_lr=0.01, drop=0.5, held_out=0.0))
    layers = {layer.name: layer for layer in learned.quant_layers}
    inner = layers["block.conv1"].quantizer.scale
    assert inner > 0 and not inner.requires_grad
    with torch.no_grad():
        tensors = learned.trace(images)
        y = layers["block.conv1"].activate(layers["block.conv1"].compute(tensors))
    moved = inner.clone()
    layers["block.conv1"].quantizer.calibrate(y)
    assert moved != inner  # what was learned is not what calibration would have chosen
    assert block_error(model, still, images) < 0.5


def test_the_same_seed_gives_the_same_model(model, images):
    first, second, other = (convert(model, recipe(), FORMAT) for _ in range(3))
    settings = replace(BLOCK, copies=2, shift=1, flip=True, drop=0.2)
    for converted, seed in ((first, 0), (second, 0), (other, 1)):
        quantize(converted, images, replace(settings, seed=seed))
    for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(first(images), other(images))


def test_float_means_and_bias_correction(model, images):
    converted = convert(model, recipe(), FORMAT)
    means = quantize(converted, images, PostSettings(images=64, reconstruct=False))
    reference = convert(model, recipe(), FORMAT)
    assert all(torch.equal(means[name], mean) for name, mean in float_means(reference, images).items())
    reference.enable(False)
    tensors = reference.trace(images)
    layer = reference.conv_layers[2]
    assert torch.allclose(means[layer.name], layer.compute(tensors).mean((0, 2, 3)), atol=1e-6)
    correct_bias(converted, images, means)
    tensors = converted.trace(images)
    for layer in converted.conv_layers:
        assert torch.allclose(layer.compute(tensors).mean((0, 2, 3)), means[layer.name], atol=1e-4)


def test_tensors_are_kept_as_long_as_they_are_read(model, images, monkeypatch):
    quantized = convert(model, recipe(), FORMAT)
    layers = quantized.quant_layers
    most = max(
        len({source for layer in layers[n:] for source in layer.sources} & {INPUT, *(one.name for one in layers[:n])})
        for n in range(len(layers))
    )
    assert most == 2 < len(layers)
    kept, sums = [], float_sums

    def counted(layer, tensors):
        kept.append(len(tensors))
        return sums(layer, tensors)

    monkeypatch.setattr(ptq, "float_sums", counted)
    wanted = quantize(quantized, images, PostSettings(images=8, steps=0))
    for layer in layers:
        layer.register_forward_pre_hook(lambda layer, given: kept.append(len(given[0])))
    correct_bias(quantized, images, wanted)
    assert len(kept) >= 3 * len(layers) and max(kept) == most


def test_float_sums_leave_the_quantizer_on(model, images):
    converted = convert(model, recipe(), FORMAT)
    layer = converted.conv_layers[0]
    quantize(converted, images, PostSettings(images=64))
    sums = float_sums(layer, {INPUT: images})
    assert layer.weight_quantizer.enabled and not torch.equal(sums, layer.compute({INPUT: images}))


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_narrow_words_run_on_a_wider_array(model, images, bits):
    config = load_config("configs/subset_4x4.toml")
    converted = convert(model, recipe(bits), FORMAT)
    quantize(converted, images, replace(BLOCK, steps=5))
    network = export(converted, config)
    assert {points.fmt for points in network.point_sets.values()} == {config.fmt}
    layer = network.layers[1]
    quantizer = converted.conv_layers[1].weight_quantizer
    values = layer.branches[0].weights(network.point_sets[layer.branches[0].point_set])
    integers = quantizer.integers(converted.conv_layers[1].float_weight / quantizer.scale.view(-1, 1, 1, 1))
    assert np.array_equal(values, integers.detach().numpy())
    x = torch.round(images * 16).long()
    golden = golden_layers.run(network, x.numpy())
    for name, tensor in integer.run(network, x).items():
        assert np.array_equal(tensor.numpy(), golden[name])


def test_wide_words_do_not_run_on_a_narrower_array():
    config = ArrayConfig(name="narrow", pe="subset", rows=4, cols=4, word_bits=3)
    quantizer = SubsetQuantizer((1, 1, 1, 1), bits=4)
    message = f"Weight format must be the array's {config.fmt}, not {quantizer.fmt}"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        quantizer.encode(torch.ones(1, 1, 1, 1), config.fmt)


@pytest.mark.parametrize("name", ["sq_w4a8", "sq_w3a8", "sq_w2a8", "sq_w4a4"])
def test_recipes_of_the_paper(name):
    loaded = load_recipe(Path("recipes") / f"{name}.toml")
    assert loaded.name == name and loaded.ptq.unit == "block" and loaded.ptq.images == 1024
    weight, activation = loaded.settings("layer1.0.conv1", ("@conv2d",))
    assert (weight.quantizer, weight.options["bits"], activation.bits) == ("subset", int(name[4]), int(name[6]))
    for roles in (("@conv2d", "@first"), ("@linear", "@last")):
        weight, activation = loaded.settings("x", roles)
        assert (weight.quantizer, weight.options["bits"], activation.bits) == ("uniform", 8, 8)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"unit": "stage"}, "ptq.unit must be one of ('layer', 'block'), not 'stage'"),
        ({"rounding": "up"}, "ptq.rounding must be one of ('straight', 'choose'), not 'up'"),
        ({"copies": 0}, "ptq.copies must be at least 1, not 0"),
        ({"batch": 0}, "ptq.batch must be at least 1, not 0"),
        ({"act_lr": -1.0}, "ptq.act_lr must be at least 0, not -1.0"),
        ({"decide": "much"}, "ptq.decide must be a number, not 'much'"),
        ({"drop": 1.0}, "ptq.drop must be 0 to below 1, not 1.0"),
        ({"held_out": 1.0}, "ptq.held_out must be 0 to below 1, not 1.0"),
    ],
)
def test_settings_that_are_refused(changes, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        PostSettings(**changes)


def test_the_penalty_decides_choices(model, images, monkeypatch):
    seen = []
    harden = SoftChoice.chosen

    def chosen(soft):
        seen.append(float(torch.minimum(soft.choice(), 1 - soft.choice()).detach().mean()))
        return harden(soft)

    monkeypatch.setattr(SoftChoice, "chosen", chosen)
    for decide in (0.0, 0.1):
        quantize(convert(model, recipe(), FORMAT), images, replace(BLOCK, steps=150, lr=0.1, decide=decide))
    assert len(seen) == 6 and 3 * sum(seen[3:]) < sum(seen[:3])


@pytest.mark.parametrize("unit", ["layer", "block"])
@pytest.mark.parametrize("held_out", [0.0, 0.25])
def test_a_block_that_learning_made_worse_stays_as_it_was(model, images, unit, held_out):
    """Rates that are far too high."""
    plain, spoilt = (convert(model, recipe(), FORMAT) for _ in range(2))
    quantize(plain, images, replace(BLOCK, steps=0))
    bad = replace(BLOCK, steps=5, rounding="straight", lr=50.0, scale_lr=1.0, act_lr=0.5, unit=unit)
    quantize(spoilt, images, replace(bad, held_out=held_out))
    for (name, wanted), found in zip(plain.state_dict().items(), spoilt.state_dict().values(), strict=True):
        assert torch.equal(wanted, found), name


def test_images_that_judge_are_not_learned_from_nor_their_copies():
    learned, judging = shares(8, PostSettings(copies=2, held_out=0.25))
    assert learned.tolist() == [0, 1, 2, 3, 4, 5, 8, 9, 10, 11, 12, 13] and judging.tolist() == [6, 7]
    learned, judging = shares(8, PostSettings(held_out=0.0))
    assert learned.tolist() == judging.tolist() == list(range(8))
    learned, judging = shares(1, PostSettings(held_out=0.9))
    assert learned.tolist() == judging.tolist() == [0]
