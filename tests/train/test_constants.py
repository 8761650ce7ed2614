"""Constants multiplied or added, a number for each channel: where they go, and the same integers everywhere."""

import re
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.train.agreement import RECIPE, agree, randomised
from twofold.train.convert import convert
from twofold.train.data import InputFormat
from twofold.train.scale_layer import ScaleLayer

FORM = InputFormat((3, 6, 6), 8, True, 1 / 64)


class Body(nn.Module):
    """A function of an input, two convolutions, and constants of each kind."""

    def __init__(self, function, kernel=1):
        super().__init__()
        self.function = function
        self.a, self.b = nn.Conv2d(3, 4, kernel, padding=kernel // 2), nn.Conv2d(4, 4, 1)
        self.scale = nn.Parameter(torch.tensor([0.5, 1.5, -0.75, 1.0]).view(4, 1, 1))
        self.register_buffer("mean", torch.tensor([0.3, -0.2, 0.1]).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor([0.5, 0.6, 0.7]).view(3, 1, 1))

    def forward(self, x):
        return self.function(self, x)


def in_place(self, x):
    y = self.a(x)
    y -= 0.25
    z = y
    z *= self.scale
    y.div_(2.0).add_(self.scale)
    y /= 0.5
    return self.b(F.relu(z))


def residual(self, x):
    """A constant behind an addition, whose layer takes a bias but no gain; and one before another reader."""
    y = F.relu(self.a(x))
    z = self.b(y).add(y) + self.scale
    return z * 0.5 + self.a(x * self.std)


def computed(self, x):
    """Constants that the model computes, and sizes."""
    scale = self.scale.abs().sqrt().view(1, -1, 1, 1) + torch.ones(4, 1, 1)
    return torch.mul(self.b(F.relu(self.a(x))), scale) / x.size(1)


#: Functions, and how many layers they become of which so many are for constants alone.
CASES = {
    "gain behind": (lambda self, x: self.b(F.relu(self.a(x) * self.scale)), 2, 0),
    "gain and bias behind": (lambda self, x: self.b(F.relu(1 - self.scale * self.a(x) / 2 + self.scale)), 2, 0),
    "alpha": (lambda self, x: torch.add(self.scale, self.a(x), alpha=2).sub(self.scale, alpha=3), 1, 0),
    "rsub and neg": (lambda self, x: torch.rsub(-self.a(x), 0.5), 1, 0),
    "in place": (in_place, 2, 0),
    "normalised input": (lambda self, x: self.a((x - self.mean) / self.std), 1, 0),
    "after a ReLU": (lambda self, x: self.b(F.relu(self.a(x)) * 0.3), 2, 0),
    "after a ReLU, gains far apart": (
        lambda self, x: self.b(F.relu(self.a(x)) * torch.tensor([1, 9, 2, 3.0]).view(4, 1, 1)),
        3,
        1,
    ),
    "after a ReLU, at the end": (lambda self, x: F.relu(self.a(x)) * 0.3 + 0.1, 2, 1),
    "concatenated": (lambda self, x: self.b(torch.cat([self.mean * x, x[:, :1]], 1)), 2, 1),
    "concatenated, alike": (lambda self, x: self.b(torch.cat([x[:, :1], x[:, [2, 1, 0]] * 2], 1)), 1, 0),
    "residual": (residual, 4, 1),
    "computed": (computed, 2, 0),
}


@pytest.mark.parametrize("name", CASES)
def test_layers_that_constants_become(name):
    """What they compute `convert` compares."""
    function, layers, alone = CASES[name]
    model = convert(randomised(Body(function)), RECIPE, FORM)
    kinds = [isinstance(layer, ScaleLayer) for layer in model.quant_layers]
    assert (len(kinds), sum(kinds)) == (layers, alone)


def test_a_padded_convolution_does_not_take_what_was_added_before_it():
    _, network, _, gap = agree(randomised(Body(CASES["normalised input"][0], 3)), (3, 6, 6))
    assert [layer.kind for layer in network.layers] == ["add", "conv2d"]
    assert gap < 0.1


def test_integers_are_the_same_everywhere():
    def mixed(self, x):
        y = F.relu(self.a((x - self.mean) / self.std)) * torch.tensor([1, 9, 2, 3.0]).view(4, 1, 1)
        return self.b(y) * self.scale + self.scale

    model, _, _, gap = agree(randomised(Body(mixed, 3)), (3, 6, 6))
    assert [layer.nonnegative for layer in model.quant_layers] == [False, True, True, False]
    # Scales are those of the least squared error, which is not the least largest one.
    assert gap < 0.2


@pytest.mark.parametrize(("factor", "folded"), [(1.5, True), (-1.5, False)])
def test_kept_batch_norms_take_constants_that_keep_their_factors_positive(factor, folded):
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    recipe = replace(RECIPE, method="qat", train=replace(RECIPE.train, batch_norm="keep"))
    network = convert(Tail(randomised(model), factor), recipe, FORM, training=True)
    assert [layer.kind for layer in network.quant_layers] == ["conv2d"] + ["add"] * (not folded)


class Tail(nn.Module):
    def __init__(self, body, factor):
        super().__init__()
        self.body, self.factor = body, factor

    def forward(self, x):
        return self.body(x * 0.5 + 0.25) * self.factor + 0.5


def test_what_moves_nothing_is_nothing():
    def still(self, x):
        y = self.a(x.float().to(torch.float32).clone())
        y = F.alpha_dropout(F.dropout2d(y, 0.5, False), 0.5, False)
        return self.b(F.feature_alpha_dropout(y.contiguous().detach(), 0.5, False).type_as(x))

    model = Body(still)
    model.a = nn.Sequential(model.a, nn.AlphaDropout(), nn.FeatureAlphaDropout(), nn.Dropout3d(inplace=True))
    assert [layer.name for layer in convert(randomised(model), RECIPE, FORM).quant_layers] == ["a.0", "b"]


WHERE = "Operation in 'the model itself'"


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda self, x: self.a(x) * self.b(self.a(x)), "must multiply by a constant, not by another tensor (b)"),
        (lambda self, x: 1 / self.a(x), "must divide by a constant, without rounding, not by a"),
        (
            lambda self, x: torch.div(self.a(x), 2, rounding_mode="floor"),
            "must divide by a constant, without rounding, not by 2",
        ),
        (
            lambda self, x: self.a(x) + torch.arange(6.0),
            ": constant must be one number, or one for each channel, of (4, 6, 6), not of shape (6,)",
        ),
        (
            lambda self, x: self.a(x)[:, :1] * self.scale,
            ": constant must be one number, or one for each channel, of (1, 6, 6), not of shape (4, 1, 1)",
        ),
    ],
)
def test_what_is_no_constant_of_channels_is_refused(function, message):
    wanted = re.escape(f"{WHERE}{'' if message[0] == ':' else ' '}{message}")
    with pytest.raises(ValueError, match=f"^{wanted}$"):
        convert(randomised(Body(function)), RECIPE, FORM)
