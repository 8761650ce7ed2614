"""ResNet-20, 32 and 56 for 32x32 images, with parameter-free shortcuts (option A).

State dicts have the keys of Y. Idelbayev's pytorch_resnet_cifar10, whose trained weights load (`train.models.weights`).

Source: [ResNet], section 4.2.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class CifarBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut: every other position, and zeros for half of the channels on either side."""

    def __init__(self, inputs: int, channels: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.stride, self.pad = stride, (channels - inputs) // 2

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        if self.stride != 1 or self.pad:
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.pad, self.pad))
        return torch.relu(y + x)


class ResNetCifar(nn.Module):
    """Three stages of 16, 32 and 64 channels, global average pooling, linear layer.

    Parameters
    ----------
    depth
        Layers with weights: 6n + 2.
    classes
        Outputs.
    inputs
        Channels of the input.
    """

    def __init__(self, depth: int = 20, classes: int = 10, inputs: int = 3):
        super().__init__()
        if depth < 8 or (depth - 2) % 6:
            raise ValueError(f"Depth must be 6n + 2, at least 8, not {depth!r}")
        blocks = (depth - 2) // 6
        self.conv1 = nn.Conv2d(inputs, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = _stage(16, 16, blocks, 1)
        self.layer2 = _stage(16, 32, blocks, 2)
        self.layer3 = _stage(32, 64, blocks, 2)
        self.linear = nn.Linear(64, classes)
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1))


def _stage(inputs: int, channels: int, blocks: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        CifarBlock(inputs, channels, stride), *(CifarBlock(channels, channels, 1) for _ in range(blocks - 1))
    )
