"""The four networks of MLPerf Tiny, as its reference implementations define them.

Strided convolutions are padded as TensorFlow's ``same`` does: what one side gets more, the lower and the right one get.
Convolutions have biases besides their batch norms, whose epsilon is 0.001. Softmax is left to the loss.

Source: Banbury et al., MLPerf Tiny Benchmark, NeurIPS 2021, and mlcommons/tiny: visual wake words (`PersonNet`),
keyword spotting (`DSCNN`), image classification (`ResNet8`), anomaly detection (`Autoencoder`).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Pair = tuple[int, int]
EPSILON = 1e-3
#: PersonNet: output channels, in units of the first layer's, and stride of each separable convolution.
PERSON_BLOCKS = ((2, 1), (4, 2), (4, 1), (8, 2), (8, 1), (16, 2), *5 * ((16, 1),), (32, 2), (32, 1))


def same_pads(size: Pair, kernel: Pair, stride: Pair) -> tuple[int, int, int, int]:
    """What `torch.nn.functional.pad` adds for TensorFlow's ``same``: left, right, top, bottom.

    Parameters
    ----------
    size
        (height, width) of the map.
    """
    top, left = (
        max(0, (-(-length // step) - 1) * step + taps - length)
        for length, taps, step in zip(size, kernel, stride, strict=True)
    )
    return left // 2, left - left // 2, top // 2, top - top // 2


class SameConv(nn.Module):
    """Convolution with TensorFlow's ``same`` padding for maps of one size, batch norm, perhaps ReLU.

    Parameters
    ----------
    inputs, channels
        Of the convolution.
    kernel, stride, groups
        As of `torch.nn.Conv2d`.
    size
        (height, width) of the map; of even sides any others do.
    act
        ReLU at the end.
    """

    def __init__(
        self,
        inputs: int,
        channels: int,
        kernel: Pair,
        stride: int = 1,
        groups: int = 1,
        *,
        size: Pair = (2, 2),
        act: bool = True,
    ):
        super().__init__()
        self.pads = same_pads(size, kernel, (stride, stride))
        self.conv = nn.Conv2d(inputs, channels, kernel, stride=stride, groups=groups)
        self.bn = nn.BatchNorm2d(channels, eps=EPSILON)
        self.act = act
        nn.init.kaiming_normal_(self.conv.weight)
        nn.init.zeros_(self.conv.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn(self.conv(F.pad(x, self.pads)))
        return torch.relu(x) if self.act else x


class PersonNet(nn.Module):
    """MobileNetV1 of a quarter of the channels for 96x96 images: is there a person?

    Parameters
    ----------
    classes
        Outputs.
    inputs
        Channels of the input; its sides are multiples of 32.
    width
        Channels of the first layer.
    """

    def __init__(self, classes: int = 2, inputs: int = 3, *, width: int = 8):
        super().__init__()
        layers: list[nn.Module] = [SameConv(inputs, width, (3, 3), 2)]
        here = width
        for channels, stride in PERSON_BLOCKS:
            layers.append(SameConv(here, here, (3, 3), stride, here))
            layers.append(SameConv(here, channels * width, (1, 1)))
            here = channels * width
        self.features = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(here, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(torch.flatten(self.pool(self.features(x)), 1))


class DSCNN(nn.Module):
    """Depthwise separable convolutions over spectrograms: one of ten words, silence, or another word.

    Parameters
    ----------
    classes
        Outputs.
    inputs
        Channels of the input.
    size
        (times, coefficients) of the input.
    width
        Channels of every layer.
    pool
        Window of the average at the end; all positions by default. The benchmark has had 25x5 and 24x5.
    """

    def __init__(
        self, classes: int = 12, inputs: int = 1, *, size: Pair = (49, 10), width: int = 64, pool: Pair | None = None
    ):
        super().__init__()
        self.first = SameConv(inputs, width, (10, 4), 2, size=size)
        blocks: list[nn.Module] = []
        for _ in range(4):
            blocks += [SameConv(width, width, (3, 3), 1, width), SameConv(width, width, (1, 1))]
        self.blocks = nn.Sequential(nn.Dropout(0.2), *blocks, nn.Dropout(0.4))
        self.pool = nn.AvgPool2d(pool or (-(-size[0] // 2), -(-size[1] // 2)))
        self.classifier = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(torch.flatten(self.pool(self.blocks(self.first(x))), 1))


class Stack(nn.Module):
    """Two 3x3 convolutions and a shortcut: a strided 1x1 convolution without batch norm where the shape changes."""

    def __init__(self, inputs: int, channels: int, stride: int):
        super().__init__()
        self.one = SameConv(inputs, channels, (3, 3), stride)
        self.two = SameConv(channels, channels, (3, 3), act=False)
        self.shortcut = nn.Identity() if stride == 1 else nn.Conv2d(inputs, channels, 1, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.shortcut(x) + self.two(self.one(x)))


class ResNet8(nn.Module):
    """Three residual stacks for 32x32 images.

    Parameters
    ----------
    classes
        Outputs.
    inputs
        Channels of the input; its sides are multiples of 4.
    width
        Channels of the first stack.
    """

    def __init__(self, classes: int = 10, inputs: int = 3, *, width: int = 16):
        super().__init__()
        self.first = SameConv(inputs, width, (3, 3))
        self.stacks = nn.Sequential(Stack(width, width, 1), Stack(width, 2 * width, 2), Stack(2 * width, 4 * width, 2))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.linear = nn.Linear(4 * width, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(torch.flatten(self.pool(self.stacks(self.first(x))), 1))


class Autoencoder(nn.Module):
    """Linear layers through a neck of 8 features: a sound unlike those of the training comes out as another one.

    Parameters
    ----------
    classes
        Outputs; as many as inputs where the network is used as published.
    inputs
        Features.
    width, neck
        Features of the layers between, and of the one in the middle.
    """

    def __init__(self, classes: int = 640, inputs: int = 640, *, width: int = 128, neck: int = 8):
        super().__init__()
        layers: list[nn.Module] = []
        here = inputs
        for features in (*(width,) * 4, neck, *(width,) * 4):
            layers += [nn.Linear(here, features), nn.BatchNorm1d(features, eps=EPSILON), nn.ReLU()]
            here = features
        self.layers = nn.Sequential(*layers, nn.Linear(here, classes))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)
