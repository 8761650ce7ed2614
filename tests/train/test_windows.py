"""Paddings of four sides, poolings of any windows, series and features: the same integers everywhere."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.train.agreement import BUILD, RECIPE, agree, randomised
from twofold.golden.layers import accumulate, requantise
from twofold.train.convert import calibrate, convert
from twofold.train.data import InputFormat
from twofold.train.export import _Exporter
from twofold.train.windows import WindowRun, adaptive_runs, pooling_runs


class Then(nn.Module):
    """A convolution and a ReLU, a function or a layer, perhaps a layer behind it."""

    def __init__(self, function, last=None, act=None):
        super().__init__()
        self.conv = nn.Conv2d(2, 5, 3, padding=1)
        self.act = nn.ReLU() if act is None else act
        self.function, self.last = function, nn.Identity() if last is None else last

    def forward(self, x):
        return self.last(self.function(self.act(self.conv(x))))


def conv(*args, **kwargs):
    return nn.Conv2d(*args, **kwargs)


SIGNED = nn.Identity()
#: Model and the golden layers that it becomes, without the first convolution.
PADDINGS = {
    "zero pad 2d": (lambda: Then(nn.ZeroPad2d((1, 2, 3, 0)), conv(5, 4, 3, stride=2)), 1),
    "strided, as TensorFlow does": (lambda: Then(lambda x: F.pad(x, (0, 1, 0, 1)), conv(5, 4, 3, 2)), 1),
    "constant pad": (lambda: Then(nn.ConstantPad2d((0, 1, 1, 0), 0.0), conv(5, 4, 2)), 1),
    "both pad": (lambda: Then(lambda x: F.pad(x, (2, 0, 0, 1)), conv(5, 4, 3, padding=(1, 2), dilation=(2, 1))), 1),
    "same": (lambda: Then(nn.Identity(), conv(5, 4, (4, 2), padding="same", dilation=(1, 3))), 1),
    "valid": (lambda: Then(nn.Identity(), conv(5, 4, (4, 2), padding="valid")), 1),
    "depthwise": (lambda: Then(nn.ZeroPad2d((0, 1, 1, 2)), conv(5, 5, 3, stride=2, groups=5)), 1),
    "crop": (lambda: Then(lambda x: F.pad(x, (-1, 0, -2, -1)), conv(5, 4, 3)), 1),
    "crop and pad of other sides": (lambda: Then(lambda x: F.pad(x, (-1, 2, 3, -2)), conv(5, 4, 3)), 1),
    "crop and pad again": (lambda: Then(lambda x: F.pad(x, (-2, 0, 0, -1)), conv(5, 4, 3, padding=1)), 2),
    "maximum of zeros too": (lambda: Then(nn.ZeroPad2d((0, 1, 0, 1)), nn.MaxPool2d(3, 2)), 1),
    "maximum, negative": (lambda: Then(nn.ZeroPad2d((0, 1, 0, 1)), nn.MaxPool2d(3, 2), SIGNED), 2),
    "maximum of zeros alone": (lambda: Then(nn.ZeroPad2d((3, 0, 0, 0)), nn.MaxPool2d(2)), 2),
    "maximum without them": (
        lambda: Then(lambda x: F.pad(x, (0, 1, 0, 1), value=float("-inf")), nn.MaxPool2d(3, 2), SIGNED),
        1,
    ),
    "average": (lambda: Then(nn.ZeroPad2d((0, 1, 1, 2)), nn.AvgPool2d(3, 2)), 1),
    "global average": (lambda: Then(nn.ZeroPad2d((0, 1, 1, 2)), nn.AdaptiveAvgPool2d(1)), 1),
    "relu of a padded one": (lambda: Then(lambda x: F.relu(F.pad(x, (1, 0, 0, 2))), conv(5, 4, 3), SIGNED), 2),
    "slice into a convolution": (lambda: Then(lambda x: x[:, :, ::2, ::3], conv(5, 4, 2)), 2),
    "pad of a slice": (lambda: Then(lambda x: F.pad(x[:, :, ::2, ::2], (0, 1, 1, 0)), conv(5, 4, 2)), 2),
    "sum of a padded one": (lambda: Then(lambda x: F.pad(x, (1, 0, 0, 1)) + F.pad(x, (0, 1, 1, 0)), conv(5, 4, 2)), 2),
}


@pytest.mark.parametrize("name", PADDINGS)
def test_paddings(name):
    make, layers = PADDINGS[name]
    _, network, _, gap = agree(randomised(make()), (2, 9, 10))
    assert len(network.layers) == 1 + layers
    assert gap < 0.15, gap


#: Pooling, and the number of regions of like windows.
AVERAGES = {
    "any size": (nn.AvgPool2d((5, 3), (2, 3)), 1),
    "padding counts": (nn.AvgPool2d(3, 2, 1), 1),
    "padding does not": (nn.AvgPool2d(3, 2, 1, count_include_pad=False), 6),
    "at stride 1": (nn.AvgPool2d(3, 1, 1, count_include_pad=False), 9),
    "of one axis": (nn.AvgPool2d((1, 5), 1, (0, 2), count_include_pad=False), 5),
    "ceil": (nn.AvgPool2d(3, 2, ceil_mode=True), 2),
    "ceil with padding": (nn.AvgPool2d(3, 2, 1, ceil_mode=True), 2),
    "ceil, padding does not count": (nn.AvgPool2d(2, 3, 1, ceil_mode=True, count_include_pad=False), 6),
    "other divisor": (nn.AvgPool2d(3, 2, 1, count_include_pad=False, divisor_override=7), 1),
    "adaptive, divides": (nn.AdaptiveAvgPool2d((3, 5)), 1),
    "adaptive, global": (nn.AdaptiveAvgPool2d(1), 1),
    "adaptive, one axis": (nn.AdaptiveAvgPool2d((None, 1)), 1),
    "adaptive, overlapping": (nn.AdaptiveAvgPool2d((4, 3)), 1),
    "adaptive, does not divide": (nn.AdaptiveAvgPool2d((5, 4)), 6),
    "adaptive, more than there are": (nn.AdaptiveAvgPool2d((1, 20)), 11),
}


@pytest.mark.parametrize("name", AVERAGES)
@pytest.mark.parametrize("signed", [False, True])
def test_averages_are_exact(name, signed):
    """Of the integers before it: each average is rounded once, whatever its divisor."""
    pool, regions = AVERAGES[name]
    _, network, _, gap = agree(randomised(Then(pool, act=nn.Identity() if signed else None)), (2, 9, 10))
    assert gap < 0.1, gap
    assert len(network.layers) == (2 if regions == 1 else 2 + regions)
    assert max(facts["multiplier_error"] for facts in network.meta["layers"].values()) < 1e-6
    source, output = network.tensors["conv"], network.output
    x = np.random.default_rng(0).integers(source.low, source.high + 1, (4, 5, 9, 10))
    tensors = {"conv": x}
    for layer in network.layers[1:]:
        tensors[layer.name] = requantise(layer, accumulate(network, layer, tensors))
    wanted = pool(torch.as_tensor(x).double()).numpy() * source.scale / output.output.scale
    wanted = np.clip(wanted, output.low, output.high)
    assert np.abs(tensors[output.name] - wanted).max() < 0.5 + 1e-4


@pytest.mark.parametrize(
    "pool",
    [
        nn.MaxPool2d(3, 2, ceil_mode=True),
        nn.MaxPool2d(3, 2, 1, ceil_mode=True),
        nn.MaxPool2d((2, 3), (3, 1), (1, 0)),
        nn.MaxPool2d(2, 4, 1),
        nn.MaxPool2d(3, 2, 1, dilation=2),
    ],
)
def test_maxima(pool):
    _, network, _, gap = agree(randomised(Then(pool, act=nn.Identity())), (2, 9, 10))
    assert len(network.layers) == 2 and gap < 0.1, gap


class Series(nn.Sequential):
    def __init__(self, *middle):
        super().__init__(
            nn.Conv1d(3, 6, 5, stride=2, padding=2, bias=False),
            nn.BatchNorm1d(6),
            nn.ReLU(),
            *middle,
            nn.Flatten(),
            nn.LazyLinear(4),
        )


SERIES = {
    "dilated": lambda: [nn.Conv1d(6, 6, 3, dilation=2, groups=3, padding="same"), nn.ReLU()],
    "padded": lambda: [nn.ZeroPad1d((2, 1)), nn.Conv1d(6, 5, 4)],
    "maximum": lambda: [nn.MaxPool1d(3, 2, 1), nn.Dropout1d()],
    "average": lambda: [nn.AvgPool1d(3, 2, 1, count_include_pad=False)],
    "adaptive": lambda: [nn.AdaptiveAvgPool1d(3)],
    "constant": lambda: [nn.ConstantPad1d((0, 1), 0.0), nn.AvgPool1d(2)],
}


@pytest.mark.parametrize("name", SERIES)
def test_series(name):
    model = Series(*SERIES[name]())
    model(torch.zeros(2, 3, 21))
    _, network, _, gap = agree(randomised(model), (3, 21), runs=2)
    assert network.input.shape == (3, 1, 21) and gap < 0.15, gap


class Functions(nn.Module):
    """Functions over series; a mean over the length; a residual."""

    def __init__(self):
        super().__init__()
        self.one, self.two, self.last = nn.Conv1d(3, 4, 3, padding=1), nn.Conv1d(4, 4, 3, padding=1), nn.Linear(4, 2)

    def forward(self, x):
        x = F.relu(self.one(x))
        x = F.relu(self.two(x) + x)
        x = F.max_pool1d(x, 2) + F.avg_pool1d(x, 2)
        x = F.adaptive_avg_pool1d(F.pad(x, (1, 0))[:, :, ::2], 4)
        return self.last(x.mean(-1))


def test_functions_over_series():
    assert agree(randomised(Functions()), (3, 18), runs=2)[3] < 0.15


def test_features():
    model = nn.Sequential(
        nn.Linear(20, 12, bias=False),
        nn.BatchNorm1d(12),
        nn.ReLU(),
        nn.Linear(12, 9),
        nn.BatchNorm1d(9),
        nn.ReLU(),
        nn.Linear(9, 20),
    )
    quantized, network, _, gap = agree(randomised(model), (20,), runs=2)
    assert [layer.kind for layer in network.layers] == ["linear"] * 3 and gap < 0.2, gap
    assert quantized(torch.zeros(5, 20)).shape == (5, 20)


def test_runs_by_hand():
    """Windows of 3 at stride 2 over 9 with 1 of padding: 2 inside, then 3, 3, 3, then 2."""
    ends = WindowRun(1, -1, 3, 1, 2), WindowRun(3, 1, 3, 2, 3), WindowRun(1, 7, 3, 1, 2)
    assert pooling_runs(9, 3, 2, 1, 5, count_padding=False) == ends
    assert pooling_runs(9, 3, 2, 1, 5) == (WindowRun(5, -1, 3, 2, 3),)
    assert pooling_runs(9, 3, 2, 1, 5, divisor=4) == (WindowRun(5, -1, 3, 2, 4),)
    # Of ten, two were added in front by the model.
    assert pooling_runs(10, 4, 4, 0, 3, before=2) == (WindowRun(2, -2, 4, 4, 4), WindowRun(1, 6, 4, 1, 2))
    assert adaptive_runs(7, 3) == (WindowRun(3, 0, 3, 2, 3),)
    assert adaptive_runs(1, 2) == 2 * (WindowRun(1, 0, 1, 1, 1),)
    assert adaptive_runs(5, 3) == (WindowRun(1, 0, 2, 1, 2), WindowRun(1, 1, 3, 1, 3), WindowRun(1, 3, 2, 1, 2))


def test_an_average_beyond_the_build_is_refused_by_name():
    quantized, _, _, _ = agree(randomised(Then(nn.AdaptiveAvgPool2d(5))), (2, 9, 8))
    rule = (
        "Layer 'function': max_pass_shift must be at least 2 for a sum times 9, "
        "which the window's divisor lacks to the others, not 1"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(rule)}$"):
        export_average(quantized, replace(BUILD, max_pass_shift=1))


def export_average(quantized, config):
    """Export of the average alone: a convolution's weights would be refused first."""
    return _Exporter(quantized, config)._layers(quantized.quant_layers[-1])


@pytest.mark.parametrize("shape", [(3, 21), (3, 1, 21)])
def test_images_of_a_series_have_two_shapes(shape):
    model = Series()
    model(torch.zeros(2, 3, 21))
    quantized = convert(randomised(model), RECIPE, InputFormat((3, 21), scale=0.01))
    calibrate(quantized, torch.rand(4, *shape))
    assert quantized(torch.rand(4, *shape)).shape == (4, 4)
    with pytest.raises(ValueError, match=r"^Images must be of shape \(3, 1, 21\), not \(3, 20\)$"):
        calibrate(quantized, torch.rand(4, 3, 20))
