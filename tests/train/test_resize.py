"""Nearest upsampling and pixel shuffle: values at other positions, the same integers everywhere."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.train.agreement import RECIPE, agree, randomised
from twofold.train.convert import convert
from twofold.train.data import InputFormat


class Up(nn.Module):
    """Two layers around a function."""

    def __init__(self, function, between):
        super().__init__()
        self.function = function
        self.first, self.last = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(between, 2, 1)

    def forward(self, x):
        return self.last(self.function(x, torch.relu(self.first(x))))


@pytest.mark.parametrize(
    ("function", "between", "layers"),
    [
        (lambda x, y: F.interpolate(y, scale_factor=2), 8, 3),
        (lambda x, y: F.interpolate(torch.cat([x, y], 1), size=(12, 5), mode="nearest-exact"), 11, 4),
        (lambda x, y: F.pixel_shuffle(y, 2), 2, 3),
        (lambda x, y: F.pixel_shuffle(y[:, [7, 6, 5, 4]], 2), 1, 3),
        (lambda x, y: F.pixel_shuffle(torch.cat([y, x[:, :1]], 1), 3), 1, 4),
    ],
)
def test_values_are_moved_as_they_are(function, between, layers):
    _, network, _, gap = agree(randomised(Up(function, between)), (3, 4, 5))
    assert len(network.layers) == layers and any(one.parts for one in network.layers)
    assert gap < 0.15


def test_modules_at_the_end():
    model = nn.Sequential(nn.Conv2d(3, 12, 3, padding=1), nn.PixelShuffle(2), nn.Upsample(scale_factor=(1, 3)))
    quantized, network, _, gap = agree(randomised(model), (3, 4, 3))
    assert network.output.output.shape == (3, 8, 18) and gap < 0.1
    assert quantized(torch.zeros(1, 3, 4, 3)).shape == (1, 3, 8, 18)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (nn.Upsample(scale_factor=2, mode="bilinear"), "mode must be 'nearest', not 'bilinear'"),
        (nn.Upsample(size=(5, 6)), "size must be 1 to 15 times (3, 3), not (5, 6)"),
        (nn.Upsample(scale_factor=16), "size must be 1 to 15 times (3, 3), not (48, 48)"),
    ],
)
def test_others_are_refused(layer, message):
    with pytest.raises(ValueError) as caught:
        convert(nn.Sequential(nn.Conv2d(4, 4, 1), layer), RECIPE, InputFormat((4, 3, 3), 8, True, 1 / 64))
    assert str(caught.value) == f"Layer '1': {message}"
