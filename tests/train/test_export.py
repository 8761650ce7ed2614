"""Conversion, fused layers, and the exported network: PyTorch's integer mode = golden model, for every layer."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from twofold.golden import layers as golden_layers
from twofold.golden.config import ArrayConfig
from twofold.golden.network import INPUT
from twofold.train import integer
from twofold.train.convert import calibrate, convert
from twofold.train.data import InputFormat
from twofold.train.export import export
from twofold.train.recipe import load_recipe, parse_recipe
from twofold.train.residual import TOLERANCE
from twofold.train.snap import snap

LOG = ArrayConfig(name="log", pe="log", rows=4, cols=4, word_bits=3)
ASYMMETRIC = replace(LOG, name="asymmetric", asymmetric=True)
SUBSET = ArrayConfig(name="subset", pe="subset", rows=4, cols=4, word_bits=4, point_sets=8)
SUBSET3 = replace(SUBSET, name="subset3", word_bits=3)


class Plain(nn.Sequential):
    """Max pool, padding of one side only, dilation, flatten, linear."""

    def __init__(self):
        super().__init__(
            nn.Conv2d(3, 5, 3, padding=(0, 1), bias=True),
            nn.BatchNorm2d(5),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(5, 6, 2, dilation=(1, 2), padding="valid", bias=False),
            nn.ReLU6(),
            nn.Flatten(),
            nn.Linear(6, 4),
        )


class Late(nn.Module):
    """Padded maximum of signed numbers; a convolution that waits for an operand computed after it."""

    def __init__(self):
        super().__init__()
        self.conv, self.pool, self.last = nn.Conv2d(3, 3, 1), nn.MaxPool2d(3, 1, 1), nn.Linear(27, 3)

    def forward(self, x):
        early = self.conv(x)
        return self.last(torch.flatten(early + self.pool(x), 1))


class Mobile(nn.Module):
    """Depthwise and grouped convolution, average pool by mean."""

    def __init__(self):
        super().__init__()
        self.depth = nn.Conv2d(3, 6, 3, stride=2, padding=1, groups=3)
        self.group = nn.Conv2d(6, 4, 1, groups=2)
        self.last = nn.Linear(4, 3)

    def forward(self, x):
        return self.last(F.relu(self.group(torch.relu(self.depth(x)))).mean((2, 3)))


class Block(nn.Module):
    def __init__(self, channels, out, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.stride, self.extra = stride, out - channels

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.stride != 1:
            x = F.pad(
                x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.extra // 2, self.extra - self.extra // 2)
            )
        return F.relu(x + y)


class Residual(nn.Module):
    """ResNet of option A: strided and padded shortcut."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
        self.one, self.two = Block(4, 4, 1), Block(4, 8, 2)
        self.pool, self.linear = nn.AdaptiveAvgPool2d(1), nn.Linear(8, 5)

    def forward(self, x):
        return self.linear(torch.flatten(self.pool(self.two(self.one(self.stem(x)))), 1))


class Sums(nn.Module):
    """Both operands convolutions; a chain of additions; a sum of activated tensors; average pool; reshape."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 1)
        self.pool = nn.AvgPool2d(3, 2, 1)
        self.last = nn.Linear(4 * 9, 3)

    def forward(self, x):
        y = self.a(x) + self.b(x)  # signed: no ReLU
        z = self.c(y) + y + y
        z = torch.relu(z) + torch.relu(y)
        z = F.dropout(z, 0.5, self.training)
        return self.last(self.pool(z + z).reshape(z.shape[0], -1))


class Dense(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(7, 9), nn.ReLU(), nn.Identity(), nn.Dropout(), nn.Linear(9, 3))


MODELS = {
    "plain": (Plain, (3, 6, 6)),
    "mobile": (Mobile, (3, 5, 7)),
    "residual": (Residual, (3, 6, 6)),
    "sums": (Sums, (3, 6, 6)),
    "dense": (Dense, (7,)),
    "late": (Late, (3, 3, 3)),
}
WEIGHTS = {
    "log": (LOG, {"quantizer": "stlq", "bits": 3, "ratio": 0.25, "tile": [4, 4]}),
    "asymmetric": (ASYMMETRIC, {"quantizer": "stlq", "bits": 3, "asymmetric": True, "ratio": 0.25, "tile": [4, 4]}),
    "subset": (SUBSET, {"quantizer": "subset", "bits": 4}),
    "subset3": (SUBSET3, {"quantizer": "subset", "bits": 3}),
    "uniform_on_log": (LOG, {"quantizer": "uniform", "bits": 5}),
}


def recipe(weight, bits=8):
    eight = {"quantizer": "uniform", "bits": 8}
    return parse_recipe(
        {
            "name": "test",
            "method": "ptq",
            "layer": [
                {"match": "*", "weight": weight, "activation": {"bits": bits}},
                {"match": "@first", "weight": eight},
                {"match": "@last", "weight": eight, "activation": {"bits": 8, "calibration": "max"}},
            ],
        }
    )


def randomise(model, seed=0):
    """Weights, and batch statistics that make folding wrong if any of them is left out."""
    torch.manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.3, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.3)
    return model.eval()


def quantized(name, weight, config, *, signed=False, bits=8):
    make, shape = MODELS[name]
    model = randomise(make())
    scale = 1 / 100
    images = torch.randint(-100 if signed else 0, 100, (32, *shape)).float() * scale
    result = convert(model, recipe(weight, bits), InputFormat(shape, bits=8, signed=signed, scale=scale))
    calibrate(result, images)
    result.finish()
    snap(result, config)
    return model, result, images


@pytest.mark.parametrize("name", MODELS)
def test_converted_model_computes_the_same_in_float(name):
    model, result, images = quantized(name, WEIGHTS["log"][1], LOG)
    result.enable(False)
    with torch.no_grad():
        assert torch.allclose(result(images), model(images), atol=1e-5)


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("name", MODELS)
def test_integer_mode_equals_golden_and_the_quantized_model(name, weights, bits):
    config, weight = WEIGHTS[weights]
    _, result, images = quantized(name, weight, config, signed=name in ("plain", "late"), bits=bits)
    network = export(result, config)
    integers = torch.round(images / network.input.scale).long().reshape(-1, *network.input.shape)
    ours, theirs = integer.run(network, integers), golden_layers.run(network, integers.numpy())
    assert list(ours) == [layer.name for layer in network.layers]
    for layer in network.layers:
        assert np.array_equal(ours[layer.name].numpy(), theirs[layer.name]), layer.name
    # On the same inputs a layer of the quantized model differs by its rounded bias and residual constants only.
    for layer, fake in zip(network.layers, result.quant_layers, strict=True):
        reals = {name: tensor * network.tensors[name].scale for name, tensor in ({INPUT: integers} | ours).items()}
        with torch.no_grad():
            y = torch.round(fake({name: real.float() for name, real in reals.items()}) / layer.output.scale).long()
        gap = (y - ours[layer.name]).abs()
        # A residual's constant is off by up to TOLERANCE LSBs at full scale, so by half of that on average.
        limit = TOLERANCE / 2 if len(layer.branches) > 1 else 0.05
        assert gap.max() <= 1 and gap.double().mean() < limit, layer.name
    assert max(facts["multiplier_error"] for facts in network.meta["layers"].values()) < 1e-6
    assert all(layer.right.max() <= config.scaled_bits for layer in network.layers)
    assert all(max(branch.shifts) <= config.max_pass_shift for layer in network.layers for branch in layer.branches)


def test_fusion():
    _, result, _ = quantized("residual", WEIGHTS["log"][1], LOG)
    assert [(layer.name, layer.kind, layer.sources) for layer in result.quant_layers] == [
        ("stem.0", "conv2d", (INPUT,)),
        ("one.conv1", "conv2d", ("stem.0",)),
        ("one.conv2", "conv2d", ("one.conv1", "stem.0")),
        ("two.conv1", "conv2d", ("one.conv2",)),
        ("two.conv2", "conv2d", ("two.conv1", "one.conv2")),
        ("pool", "avgpool", ("two.conv2",)),
        ("linear", "linear", ("pool",)),
    ]
    skip = result.quant_layers[4].skips[0]
    assert skip.stride == (2, 2) and skip.channel == 2
    _, result, _ = quantized("sums", WEIGHTS["log"][1], LOG)
    assert [(layer.name, layer.kind, layer.sources, layer.relu) for layer in result.quant_layers] == [
        ("a", "conv2d", (INPUT,), False),
        ("b", "conv2d", (INPUT, "a"), False),
        ("c", "conv2d", ("b", "b", "b"), True),
        ("relu_1", "add", ("b",), True),
        ("add_3", "add", ("c", "relu_1"), False),
        ("add_4", "add", ("add_3", "add_3"), False),
        ("pool", "avgpool", ("add_4",), False),
        ("last", "linear", ("pool",), False),
    ]
    assert [layer.quantizer.signed for layer in result.quant_layers] == [True, True] + [False] * 5 + [True]


def test_weights_and_words_are_counted():
    _, result, _ = quantized("residual", WEIGHTS["log"][1] | {"ratio": 0.5}, LOG)
    network = export(result, LOG, meta={"data": "noise"})
    assert network.meta["data"] == "noise" and network.meta["recipe"] == "test"
    assert network.meta["two_word_ratio_asked"] == 0.5
    assert network.meta["layers"]["one.conv2"]["two_word_ratio"] == pytest.approx(
        5 / 9
    )  # round-half-up(4.5) of 9 tiles
    assert network.meta["layers"]["one.conv2"]["weight_bits"] == pytest.approx(3 * (1 + 5 / 9))
    assert network.meta["layers"]["stem.0"]["weight_bits"] == 12


def test_round_shift_is_to_nearest_even():
    value = torch.tensor([5, 6, 7, -5, -6, -7, 2, -2, 10, -10, 14])
    assert integer.round_shift(value, torch.tensor(2)).tolist() == [1, 2, 2, -1, -2, -2, 0, 0, 2, -2, 4]
    assert integer.round_shift(value, torch.tensor(0)).tolist() == value.tolist()


def test_layer_without_quantizer():
    rules = parse_recipe({"name": "none", "method": "ptq", "layer": [{"match": "*", "activation": {"bits": 8}}]})
    message = "Layer '0' must be given a weight quantizer by the recipe 'none'"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        convert(nn.Sequential(nn.Conv2d(3, 4, 1)), rules, InputFormat((3, 4, 4)))


def test_a_rule_that_matches_no_layer():
    """A misspelt path is an error; a role that the network lacks is not."""
    weight = {"quantizer": "subset", "bits": 4}
    table = {"name": "mine", "method": "ptq", "layer": [{"match": "*", "weight": weight}, {"match": "@avgpool"}]}
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 2, 1))
    assert len(convert(model, parse_recipe(table), InputFormat((3, 4, 4))).quant_layers) == 2
    table["layer"].append({"match": "layer9.*", "weight": weight})
    message = r"^Recipe 'mine': match must be that of a layer \('0', '2'\), not 'layer9\.\*'$"
    with pytest.raises(ValueError, match=message):
        convert(model, parse_recipe(table), InputFormat((3, 4, 4)))


@pytest.mark.parametrize("path", sorted(Path("recipes").glob("*.toml")), ids=lambda path: path.stem)
def test_shipped_recipes_serve_a_network_of_two_layers(path):
    model = nn.Sequential(nn.Conv2d(8, 8, 1), nn.ReLU(), nn.Conv2d(8, 8, 1), nn.ReLU(), nn.Conv2d(8, 8, 1))
    assert convert(model, load_recipe(path), InputFormat((8, 4, 4))).conv_layers


def test_words_of_another_format():
    _, result, _ = quantized("dense", WEIGHTS["subset"][1], SUBSET)
    hidden = parse_recipe({"name": "one", "method": "ptq", "layer": [{"match": "*", "weight": WEIGHTS["subset"][1]}]})
    result = convert(Dense(), hidden, InputFormat((7,), scale=0.01))
    calibrate(result, torch.rand(8, 7))
    message = f"Layer '0': Weight format must be the array's {LOG.fmt}, not {SUBSET.fmt}"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        export(result, LOG)


def test_integer_mode_checks_its_inputs():
    _, result, _ = quantized("dense", WEIGHTS["log"][1], LOG)
    network = export(result, LOG)
    with pytest.raises(TypeError, match=r"^Inputs must be torch\.int64, not torch\.float32$"):
        integer.run(network, torch.zeros(1, 7, 1, 1))
    with pytest.raises(ValueError, match=r"^Inputs must be of shape \(7, 1, 1\), not \(6, 1, 1\)$"):
        integer.run(network, torch.zeros(1, 6, 1, 1, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"^Inputs must be 0 to 255, not 0 to 256$"):
        integer.run(network, torch.full((1, 7, 1, 1), 256) * torch.arange(2).view(2, 1, 1, 1))
