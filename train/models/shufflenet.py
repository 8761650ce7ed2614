"""ShuffleNetV2, with the keys of torchvision's.

Source: [ShuffleNetV2], table 5.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

#: Units of each stage.
UNITS = (4, 8, 4)
#: Channels after the first convolution, after each stage and after the last convolution, by the paper's factor.
CHANNELS = {0.5: (24, 48, 96, 192, 1024), 1.0: (24, 116, 232, 464, 1024)}


def _point(inputs: int, channels: int) -> list[nn.Module]:
    return [nn.Conv2d(inputs, channels, 1, bias=False), nn.BatchNorm2d(channels), nn.ReLU()]


def _depth(channels: int, stride: int) -> list[nn.Module]:
    conv = nn.Conv2d(channels, channels, 3, stride=stride, padding=1, groups=channels, bias=False)
    return [conv, nn.BatchNorm2d(channels)]


class Unit(nn.Module):
    """Three convolutions of half of the channels, then a shuffle; at stride 2 of all, and two more beside them."""

    def __init__(self, inputs: int, channels: int, stride: int):
        super().__init__()
        half = channels // 2
        self.split = stride == 1
        self.branch1 = nn.Sequential() if self.split else nn.Sequential(*_depth(inputs, stride), *_point(inputs, half))
        here = half if self.split else inputs
        self.branch2 = nn.Sequential(*_point(here, half), *_depth(half, stride), *_point(half, half))

    def forward(self, x: Tensor) -> Tensor:
        kept, taken = x.chunk(2, dim=1) if self.split else (self.branch1(x), x)
        return F.channel_shuffle(torch.cat((kept, self.branch2(taken)), dim=1), 2)


class ShuffleNetV2(nn.Module):
    """Strided convolution, maximum, three stages of units, 1x1 convolution, average, linear layer.

    Parameters
    ----------
    classes
        Outputs.
    inputs
        Channels of the input.
    channels
        After the first convolution, after each stage (even numbers), after the last convolution.
    units
        Of each stage, the first of which has stride 2.
    """

    def __init__(
        self,
        classes: int = 1000,
        inputs: int = 3,
        *,
        channels: tuple[int, ...] = CHANNELS[1.0],
        units: tuple[int, ...] = UNITS,
    ):
        super().__init__()
        here, *widths, last = channels
        self.conv1 = nn.Sequential(
            nn.Conv2d(inputs, here, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(here), nn.ReLU()
        )
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        stages = []
        for there, number in zip(widths, units, strict=True):
            rest = (Unit(there, there, 1) for _ in range(number - 1))
            stages.append(nn.Sequential(Unit(here, there, 2), *rest))
            here = there
        self.stage2, self.stage3, self.stage4 = stages
        self.conv5 = nn.Sequential(*_point(here, last))
        self.fc = nn.Linear(last, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stage4(self.stage3(self.stage2(self.maxpool(self.conv1(x)))))
        return self.fc(self.conv5(x).mean([2, 3]))
