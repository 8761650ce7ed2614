"""Transposed convolutions: phases give PyTorch's results, the same integers everywhere."""

import pytest
import torch
from torch import nn

from tests.train.agreement import RECIPE, agree, randomised
from twofold.train.convert import convert
from twofold.train.data import InputFormat
from twofold.train.ptq import second_moments


class Decoder(nn.Module):
    """A transposed convolution with batch norm, a residual that is added to it, and another one."""

    def __init__(self):
        super().__init__()
        self.down, self.skip = nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.Conv2d(3, 5, 1)
        self.up = nn.ConvTranspose2d(4, 5, 3, stride=2, padding=1, output_padding=1)
        self.norm, self.last = nn.BatchNorm2d(5), nn.ConvTranspose2d(5, 2, 2, stride=2)

    def forward(self, x):
        return self.last(torch.relu(self.norm(self.up(torch.relu(self.down(x)))) + self.skip(x)))


def test_a_decoder():
    _, network, image, gap = agree(randomised(Decoder()), (3, 8, 6))
    assert gap < 0.1
    ups = [one for one in network.layers if one.parts]
    assert [len(one.parts) for one in ups] == [4, 4]
    # A 3x3 kernel with a stride of 2 has 4 taps, 2, 2 and 1; each runs once.
    weights = [branch for branch in ups[0].branches if branch.source == "down"]
    assert sorted(branch.kernel for branch in weights) == [(1, 1), (1, 2), (2, 1), (2, 2)]
    macs = {layer.name: layer.macs for layer in image.layers}
    assert macs["up"] == 9 * 4 * 5 * 4 * 3 and macs["last"] == 4 * 5 * 2 * 8 * 6


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1), (4, 5, 4)),
        (nn.ConvTranspose2d(4, 6, (3, 5), stride=(1, 3), padding=(0, 2), groups=2), (4, 5, 4)),
        (nn.ConvTranspose2d(4, 4, 4, stride=3, dilation=2, padding=2, output_padding=1, groups=4), (4, 3, 4)),
        (nn.ConvTranspose2d(4, 3, 2, stride=1, dilation=2, bias=False), (4, 3, 3)),
        (nn.ConvTranspose1d(4, 3, 4, stride=2, padding=1), (4, 7)),
    ],
)
def test_strides_paddings_dilations_and_groups(layer, shape):
    *_, gap = agree(randomised(nn.Sequential(layer)), shape)
    assert gap < 0.1


def test_each_weight_meets_the_mean_square_of_its_channel():
    model = convert(
        nn.Sequential(nn.ConvTranspose2d(4, 6, 3, groups=2)), RECIPE, InputFormat((4, 3, 3), 8, True, 1 / 64)
    )
    x = torch.arange(4).view(1, 4, 1, 1).expand(2, 4, 3, 3)
    moments = second_moments(model.conv_layers[0], x)
    assert moments.shape == (6, 2, 3, 3) and moments[:, :, 1, 1].tolist() == [[0, 1]] * 3 + [[4, 9]] * 3


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (nn.ConvTranspose2d(4, 4, 1, stride=2), "kernel must reach every output, not 1 with stride 2, dilation 1"),
        (nn.ConvTranspose2d(4, 4, 16, stride=16), "stride must be at most 15, not 16"),
    ],
)
def test_what_no_phase_gives_is_refused(layer, message):
    with pytest.raises(ValueError) as caught:
        convert(nn.Sequential(layer), RECIPE, InputFormat((4, 3, 3), 8, True, 1 / 64))
    assert str(caught.value) == f"Layer '0': {message}"
