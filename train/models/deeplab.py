"""DeepLabV3+ on MobileNetV2: parallel dilated convolutions at stride 16, refined with the map at stride 4.

Sources: [DeepLab], section 3; [MobileNetV2], section 6.3. Keys of the backbone are torchvision's, without what stands
behind the blocks.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from twofold.train.models.mobilenet import MobileNetV2

#: Blocks of the backbone up to the map at stride 4, and those from stride 32 on, which stay at stride 16.
LOW, LAST = 4, 14


def _conv(inputs: int, channels: int, size: int = 1, dilation: int = 1) -> nn.Sequential:
    """Convolution of stride 1 that keeps the map's size, batch norm, ReLU."""
    padding = dilation * (size // 2)
    return nn.Sequential(
        nn.Conv2d(inputs, channels, size, padding=padding, dilation=dilation, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(),
    )


class Pyramid(nn.Module):
    """A 1x1 convolution, 3x3 ones of several dilations and the average of the map, side by side ("ASPP").

    Parameters
    ----------
    inputs, channels
        Of the map, and of each branch and the result.
    rates
        Dilations.
    """

    def __init__(self, inputs: int, channels: int, rates: Sequence[int]):
        super().__init__()
        self.convs = nn.ModuleList((_conv(inputs, channels), *(_conv(inputs, channels, 3, rate) for rate in rates)))
        self.pooled = nn.Sequential(nn.AdaptiveAvgPool2d(1), *_conv(inputs, channels))
        self.project = _conv(channels * (len(rates) + 2), channels)

    def forward(self, x: Tensor) -> Tensor:
        found = [conv(x) for conv in self.convs]
        # Of one position, every way of interpolation gives that position's value.
        found.append(F.interpolate(self.pooled(x), size=x.shape[-2:], mode="nearest"))
        return self.project(torch.cat(found, 1))


class DeepLabV3Plus(nn.Module):
    """Scores of the classes at every pixel.

    Parameters
    ----------
    classes
        Outputs.
    inputs
        Channels of the input.
    width
        Factor of the backbone's channels.
    channels, low
        Of the pyramid and the decoder, and of the map at stride 4 in the decoder.
    rates
        Dilations of the pyramid.

    Notes
    -----
    (B, inputs, H, W) to (B, classes, H, W); where H and W are multiples of 16, every factor of upsampling is 4. The
    backbone's last stages, from stride 32 on, keep stride 16 and are dilated instead.
    """

    def __init__(
        self,
        classes: int = 21,
        inputs: int = 3,
        *,
        width: float = 1.0,
        channels: int = 256,
        low: int = 48,
        rates: Sequence[int] = (6, 12, 18),
    ):
        super().__init__()
        blocks: list[Any] = list(MobileNetV2(1, inputs, width=width).features)[:-1]
        for number in range(LAST, len(blocks)):
            depthwise = blocks[number].conv[1][0]
            rate = 1 if number == LAST else 2
            depthwise.stride, depthwise.dilation, depthwise.padding = (1, 1), (rate, rate), (rate, rate)
        self.features = nn.Sequential(*blocks)
        self.pyramid = Pyramid(blocks[-1].conv[-1].num_features, channels, rates)
        self.reduce = _conv(blocks[LOW - 1].conv[-1].num_features, low)
        self.refine = _conv(channels + low, channels, 3)
        self.classifier = nn.Conv2d(channels, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        size = x.shape[-2:]
        fine = x
        for number, block in enumerate(self.features):
            x = block(x)
            if number == LOW - 1:
                fine = x
        x = F.interpolate(self.pyramid(x), size=fine.shape[-2:], mode="bilinear", align_corners=False)
        x = self.refine(torch.cat((x, self.reduce(fine)), 1))
        return F.interpolate(self.classifier(x), size=size, mode="bilinear", align_corners=False)
