"""The second front door: models that `torch.fx` cannot trace, by `torch.export`; the same layers as by the first."""

import re
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.train.agreement import BUILD, RECIPE, agree, randomised
from twofold.train.convert import convert
from twofold.train.data import InputFormat
from twofold.train.graph import OPERATIONS

FORM = InputFormat((3, 8, 8), 8, True, 1 / 64)


class Standardised(nn.Conv2d):
    """A convolution of its own class, whose weights are computed."""

    def forward(self, x):
        weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        return F.conv2d(x, weight, self.bias, self.stride, self.padding)


class Everything(nn.Module):
    """Most of what there is; where `shapes`, it asks for the size of a tensor, which `torch.fx` does not know."""

    def __init__(self, shapes=True):
        super().__init__()
        self.shapes = shapes
        self.body = nn.Sequential(
            *(nn.Conv2d(3, 6, 3, padding="same", bias=False), nn.BatchNorm2d(6), nn.ReLU6(inplace=True)),
            *(nn.Dropout2d(), nn.MaxPool2d(3, 2, 1), nn.ZeroPad2d((1, 0, 0, 1)), Standardised(6, 8, 3, bias=True)),
        )
        self.act, self.shuffle, self.tail = nn.PReLU(), nn.ChannelShuffle(2), nn.Linear(12, 5)
        self.norm = nn.BatchNorm2d(8)
        self.register_buffer("mean", torch.tensor([0.2, 0.1, -0.1]).view(3, 1, 1))

    def forward(self, x):
        x = self.body((x - self.mean) / 0.5)
        x = self.act(self.norm(x))
        low, high = x.chunk(2, 1)
        x = torch.cat([F.hardswish(low), high, x[:, [7, 0]], x[:, 1:3]], 1)
        x = self.shuffle(x.clamp(min=0)).add_(1.0)
        if not self.shapes or x.shape[1] > x.shape[2]:
            x = F.relu(x[:, :, ::2] * 2 - 0.25)
        return self.tail(F.adaptive_avg_pool2d(x, 1).squeeze(-1).squeeze(2))


@pytest.fixture(scope="module")
def everything():
    return agree(randomised(Everything()), FORM.shape, config=replace(BUILD, tables=8), runs=1)


def test_integers_are_the_same_everywhere(everything):
    assert everything[3] < 0.15


def kinds(model):
    return [(layer.kind, layer.shape, layer.relu, layer.limit, layer.function) for layer in model.quant_layers]


def test_layers_are_those_of_the_first_door(everything):
    """Their names, too, but for those of calls, which count differently."""
    first, second = convert(randomised(Everything(shapes=False)), RECIPE, FORM), everything[0]
    assert kinds(first) == kinds(second)
    called = [(one.name, other.name) for one, other in zip(first.quant_layers, second.quant_layers, strict=True)]
    assert [one for one, other in called if one != other and "getitem" not in one] == []
    assert {"body.0", "body.6.conv2d", "tail"} <= {layer.name for layer in second.quant_layers}


class Options(nn.Module):
    """Arguments that may be given, and a size that is unpacked: `torch.fx` sees more than one input."""

    def __init__(self, function):
        super().__init__()
        self.function, self.a, self.b = function, nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 3, groups=2)
        self.matrix = nn.Parameter(torch.eye(4)[[2, 0, 1, 3]])

    def forward(self, x, scale=None, **others):
        x = self.a(x) if scale is None else self.a(x) * scale
        return self.function(self, x)


def shuffled(self, x):
    batch, channels, *size = x.shape
    x = x.view(batch, 2, channels // 2, *size).transpose(1, 2).reshape(batch, channels, *size)
    a, b = x.split([1, 3], 1)
    return self.b(F.pad(torch.cat([b, a], 1), (1, 1, 1, 1)))


def lists(self, x):
    parts = list(x.tensor_split(2, 1))
    return self.b(F.leaky_relu(torch.cat(parts[::-1], 1), 0.2) + x)


def resized(self, x):
    """Two outputs; a constant behind what has no weights goes into the convolution after it."""
    y = F.conv_transpose2d(F.interpolate(self.b(x), scale_factor=2), self.b.weight * 1, None, 2)
    return {"map": self.b(F.pixel_shuffle(torch.cat([y] * 8, 1), 2) * 0.5 + 1), "before": y}


@pytest.mark.parametrize(
    ("function", "layers"),
    [
        (shuffled, ["a", "b"]),
        (lists, ["a", "leaky_relu", "add", "b", "b_2"]),
        (resized, ["a", "b", "upsample_nearest2d", "conv_transpose2d", "pixel_shuffle", "pixel_shuffle_2", "b_2"]),
        (
            lambda self, x: F.linear(x.flatten(1)[:, :0].size(1) * x.mean((2, 3)) + x.mean((2, 3)), self.matrix),
            ["a", "mean", "mul", "mean_1", "add", "linear"],
        ),
        (lambda self, x: self.b(x).permute(0, 2, 3, 1).reshape(x.shape[0], -1, 2).sigmoid(), ["a", "b"]),
        (lambda self, x: F.gelu(self.b(x).neg_().sub(1.0).div_(2)).mean((-1, -2), keepdim=True), ["a", "b", "mean"]),
        (lambda self, x: F.hardtanh(self.b(x.select(1, 0).unflatten(0, (-1, 1)).expand(-1, 4, -1, -1))), None),
    ],
)
def test_operators(function, layers):
    if layers is None:
        with pytest.raises(ValueError, match=r"^Operation in 'the model itself'"):
            convert(randomised(Options(function)), RECIPE, FORM)
        return
    assert [layer.name for layer in convert(randomised(Options(function)), RECIPE, FORM).quant_layers] == layers


@pytest.mark.parametrize(
    ("layer", "where", "name"),
    [
        (nn.Softmax(1), "Operation in 'inner.0'", "softmax"),
        (nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular"), "Layer 'inner.0': pad must be", None),
        (nn.AvgPool2d(2), "Operation in 'the model itself'", "sin"),
    ],
)
def test_what_is_not_supported_is_named_by_its_place(layer, where, name):
    model = Options(lambda self, x: torch.sin(self.inner(x)))
    model.inner = nn.Sequential(layer)
    rule = f"must be one of {OPERATIONS}, not {name!r}" if name else ""
    with pytest.raises(ValueError, match=f"^{re.escape(where)}.*{re.escape(rule)}"):
        convert(model, RECIPE, FORM)


@torch.fx.wrap
def doubled(x):
    """Which `torch.fx` does not look into."""
    return 2 * torch.relu(x)


class Plain(nn.Module):
    """Which `torch.fx` can trace."""

    def __init__(self, function):
        super().__init__()
        self.function, self.a = function, nn.Conv2d(3, 4, 1)

    def forward(self, x):
        return self.function(self.a(x))


def test_what_only_the_second_door_looks_into():
    model = randomised(Plain(doubled))
    assert [one.name for one in convert(model, RECIPE, FORM).quant_layers] == ["a", "mul"]


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (lambda x: torch.sin(doubled(x)), "'sin' (torch.export)"),
        (
            lambda x: doubled(x).mean(1),
            "fail by torch.export with: Operation in",
        ),
    ],
)
def test_both_doors_say_why(function, reason):
    with pytest.raises(ValueError, match=re.escape(f", not 'doubled' (torch.fx) nor {reason}")):
        convert(randomised(Plain(function)), RECIPE, FORM)


def test_an_exported_program_is_taken_as_it_is():
    model = randomised(Everything())
    program = torch.export.export(model, (torch.zeros(1, *FORM.shape),))
    assert [layer.name for layer in convert(program, RECIPE, FORM).quant_layers][:3] == ["sub", "body.0", "body.4"]


def test_batch_statistics_are_refused():
    model = Options(lambda self, x: F.batch_norm(x, None, None, training=True))
    with pytest.raises(ValueError, match=r"^Operation in 'the model itself' must be one of .*, not 'batch_norm'$"):
        convert(model, RECIPE, FORM)
