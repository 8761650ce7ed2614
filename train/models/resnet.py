"""ResNet-18, 34 and 50, with the keys of torchvision's.

Source: [ResNet], table 1; in ResNet-50 the 3x3 convolution has a stage's stride, as torchvision has it.
"""

import torch
from torch import Tensor, nn


def _shortcut(inputs: int, channels: int, stride: int) -> nn.Module | None:
    if stride == 1 and inputs == channels:
        return None
    return nn.Sequential(nn.Conv2d(inputs, channels, 1, stride=stride, bias=False), nn.BatchNorm2d(channels))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut, a 1x1 convolution where the shape changes."""

    expansion = 1

    def __init__(self, inputs: int, channels: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU()
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample = _shortcut(inputs, channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        return self.relu(y + (x if self.downsample is None else self.downsample(x)))


class Bottleneck(nn.Module):
    """1x1 convolution to `channels`, 3x3 convolution, 1x1 to four times as many; shortcut as in `BasicBlock`."""

    expansion = 4

    def __init__(self, inputs: int, channels: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, 4 * channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * channels)
        self.relu = nn.ReLU()
        self.downsample = _shortcut(inputs, 4 * channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn3(self.conv3(self.relu(self.bn2(self.conv2(y)))))
        return self.relu(y + (x if self.downsample is None else self.downsample(x)))


#: Kind and number of the blocks of each stage, by layers with weights.
DEPTHS: dict[int, tuple[type[BasicBlock | Bottleneck], tuple[int, ...]]] = {
    18: (BasicBlock, (2, 2, 2, 2)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
}


class ResNet(nn.Module):
    """Four stages of blocks, each of twice the channels of the one before.

    Parameters
    ----------
    depth
        18, 34 or 50.
    classes
        Outputs.
    inputs
        Channels of the input.
    small
        For images of about 32x32: a 3x3 convolution instead of a strided 7x7 one and a pooling.
    width
        Channels of the first stage.

    Raises
    ------
    ValueError
        If there is no such depth.

    Notes
    -----
    ResNetA and ResNetB of [STLQ] are taken to be ``ResNet(18, 100, small=True, width=16)`` and 32: the paper says
    18 layers, at most 128 or 256 filters, 0.7 or 2.8 million parameters, and no more.
    """

    def __init__(self, depth: int = 18, classes: int = 1000, inputs: int = 3, *, small: bool = False, width: int = 64):
        super().__init__()
        if depth not in DEPTHS:
            raise ValueError(f"Depth must be one of {tuple(DEPTHS)}, not {depth!r}")
        block, numbers = DEPTHS[depth]
        size, stride = (3, 1) if small else (7, 2)
        self.conv1 = nn.Conv2d(inputs, width, size, stride=stride, padding=size // 2, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU()
        self.maxpool = nn.Identity() if small else nn.MaxPool2d(3, stride=2, padding=1)
        here, stages = width, []
        for stage, number in enumerate(numbers):
            channels = width << stage
            blocks = []
            for index in range(number):
                blocks.append(block(here, channels, 2 if stage and not index else 1))
                here = channels * block.expansion
            stages.append(nn.Sequential(*blocks))
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(here, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(torch.flatten(self.avgpool(x), 1))
