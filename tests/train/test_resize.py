"""Upsampling and pixel shuffle: values at other positions or between them, the same integers everywhere."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.train.agreement import BUILD, RECIPE, agree, randomised
from twofold.golden import layers
from twofold.train.convert import convert
from twofold.train.data import InputFormat
from twofold.train.recipe import parse_recipe


class Up(nn.Module):
    """Two layers around a function."""

    def __init__(self, function, between):
        super().__init__()
        self.function = function
        self.first, self.last = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(between, 2, 1)

    def forward(self, x):
        return self.last(self.function(x, torch.relu(self.first(x))))


@pytest.mark.parametrize(
    ("function", "between", "count"),
    [
        (lambda x, y: F.interpolate(y, scale_factor=2), 8, 3),
        (lambda x, y: F.interpolate(torch.cat([x, y], 1), size=(12, 5), mode="nearest-exact"), 11, 4),
        (lambda x, y: F.pixel_shuffle(y, 2), 2, 3),
        (lambda x, y: F.pixel_shuffle(y[:, [7, 6, 5, 4]], 2), 1, 3),
        (lambda x, y: F.pixel_shuffle(torch.cat([y, x[:, :1]], 1), 3), 1, 4),
    ],
)
def test_values_are_moved_as_they_are(function, between, count):
    _, network, _, gap = agree(randomised(Up(function, between)), (3, 4, 5))
    assert len(network.layers) == count and any(one.parts for one in network.layers)
    assert gap < 0.15


def test_modules_at_the_end():
    model = nn.Sequential(nn.Conv2d(3, 12, 3, padding=1), nn.PixelShuffle(2), nn.Upsample(scale_factor=(1, 3)))
    quantized, network, _, gap = agree(randomised(model), (3, 4, 3))
    assert network.output.output.shape == (3, 8, 18) and gap < 0.1
    assert quantized(torch.zeros(1, 3, 4, 3)).shape == (1, 3, 8, 18)


def bilinear(**options):
    return lambda x, y: F.interpolate(y, mode="bilinear", **options)


#: How a map of 3x4 is made larger, and for each layer of it parts and positions.
BETWEEN = {
    "twice": (bilinear(scale_factor=2), [(9, (6, 8))]),
    "twice, corners": (bilinear(scale_factor=2, align_corners=True), [(35, (6, 8))]),
    "three and two times": (bilinear(scale_factor=(3, 2)), [(15, (9, 8))]),
    "eight times": (bilinear(scale_factor=8), [(16, (24, 4)), (16, (24, 32))]),
    "intervals in halves": (bilinear(size=(5, 7), align_corners=True), [(4, (5, 7))]),
    "no multiple": (bilinear(size=(4, 11)), [(30, (4, 11))]),
    "columns only": (bilinear(scale_factor=(1.0, 2.0)), [(3, (3, 8))]),
    "an average, spread": (
        lambda x, y: F.interpolate(F.adaptive_avg_pool2d(y, 1), size=x.shape[-2:], mode="bilinear"),
        [(12, (3, 4))],
    ),
    "one row, spread": (
        lambda x, y: F.interpolate(F.adaptive_avg_pool2d(y, (1, 4)), size=(17, 4)),
        [(17, (17, 4))],
    ),
}


def function_and_layer(function):
    """A model whose first layer is a convolution, and which ends with the function."""
    model = Up(function, 2)
    model.first, model.last = nn.Conv2d(3, 2, 1), nn.Identity()
    return randomised(model)


@pytest.mark.parametrize("name", BETWEEN)
def test_values_between_others(name):
    function, parts = BETWEEN[name]
    quantized, network, _, gap = agree(function_and_layer(function), (3, 3, 4), images=4)
    assert gap < 0.05
    assert [(len(one.parts), one.output.shape[1:]) for one in network.layers if one.parts] == parts
    x = torch.randn(2, 3, 3, 4)
    quantized.enable(False)
    torch.testing.assert_close(quantized(x), function_and_layer(function)(x), rtol=1e-5, atol=1e-5)


def test_many_outputs_have_weights_of_ten_bits():
    """601 positions between 4 have weights in 1,202ths."""
    x = torch.randn(2, 2, 4, generator=torch.Generator().manual_seed(1))
    model = nn.Sequential(nn.Conv1d(2, 2, 1), nn.Upsample(601, mode="linear"))
    quantized = convert(randomised(model), RECIPE, InputFormat((2, 4), 8, True, 1 / 64))
    quantized.enable(False)
    gap = (quantized(x) - model(x)).abs().max() / x.abs().max()
    assert 1e-5 < gap < 2 / 1024
    assert quantized.quant_layers[-1].divisor == 1024


def test_halves_and_quarters_are_exact_in_integers():
    """Where scales are powers of two the layer only rounds what torch gives for the integers before it."""
    rule = {
        "match": "*",
        "weight": {"quantizer": "po2_msqe", "bits": 4},
        "activation": {"quantizer": "po2", "bits": 8},
    }
    recipe = parse_recipe({"name": "powers", "method": "ptq", "layer": [rule]})
    _, network, _, _ = agree(function_and_layer(bilinear(scale_factor=4)), (3, 3, 4), recipe=recipe, images=4)
    x = torch.randint(-128, 128, (5, 3, 3, 4), generator=torch.Generator().manual_seed(2))
    ours = layers.run(network, x.numpy())
    (before, between), (source, result) = network.layers, (one.output.scale for one in network.layers)
    wanted = bilinear(scale_factor=4)(None, torch.as_tensor(ours[before.name]).double()) * (source / result)
    assert (wanted % 1 != 0).any()
    assert torch.equal(torch.as_tensor(ours[between.name]).double(), wanted.round().clamp(between.low, between.high))


@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
def test_modules_and_operators(mode):
    """`torch.export`'s operators, and the layers that are named after their modes, give the same layers."""
    kinds = {"bilinear": nn.UpsamplingBilinear2d, "nearest": nn.UpsamplingNearest2d}
    model = randomised(nn.Sequential(nn.Conv2d(3, 2, 1), kinds[mode](scale_factor=2)))
    program = torch.export.export(model, (torch.zeros(1, 3, 3, 4),))
    form = InputFormat((3, 3, 4), 8, True, 1 / 64)
    for one in (model, program):
        last = convert(one, RECIPE, form).quant_layers[-1]
        assert last.name == "1" and last.shape == (2, 6, 8)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (nn.Upsample(scale_factor=2, mode="bicubic"), "mode must be 'nearest', 'linear' or 'bilinear', not 'bicubic'"),
        (nn.Upsample(size=(5, 6)), "size must be 1 to 15 times (3, 3) to the nearest, not (5, 6)"),
        (nn.Upsample(scale_factor=16), "size must be 1 to 15 times (3, 3) to the nearest, not (48, 48)"),
        (nn.Upsample((2, 6), mode="bilinear"), "size must be at least (3, 3) (upsampling only), not (2, 6)"),
        (
            nn.Upsample(scale_factor=1.5, mode="bilinear"),
            "scale_factor must give a whole size of (3, 3), not 1.5",
        ),
    ],
)
def test_others_are_refused(layer, message):
    with pytest.raises(ValueError) as caught:
        convert(nn.Sequential(nn.Conv2d(4, 4, 1), layer), RECIPE, InputFormat((4, 3, 3), 8, True, 1 / 64))
    assert str(caught.value) == f"Layer '1': {message}"


def test_smoothing_is_refused():
    model = function_and_layer(bilinear(scale_factor=2, antialias=True))
    with pytest.raises(ValueError, match=r"^Operation in 'the model itself': antialias must be False, not True$"):
        convert(model, RECIPE, InputFormat((3, 3, 4), 8, True, 1 / 64))


def test_a_build_whose_shifts_are_too_small_is_named():
    message = r"^Layer 'interpolate': max_pass_shift must be at least 4 for a weight of 16 16ths, not 2$"
    with pytest.raises(ValueError, match=message):
        agree(function_and_layer(bilinear(scale_factor=2)), (3, 3, 4), config=replace(BUILD, max_pass_shift=2))
