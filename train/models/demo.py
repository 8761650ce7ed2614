"""The demo's network for 8x8 digits: small enough that a simulator runs hundreds of images through the array."""

import torch
from torch import Tensor, nn


class Residual(nn.Module):
    """``relu(x + bn2(conv2(relu(bn1(conv1(x))))))``, 3x3 convolutions."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(x + self.bn2(self.conv2(y)))


class DemoNet(nn.Module):
    """Strided 3x3 convolution, one residual block of two, global average pooling, linear layer.

    Parameters
    ----------
    channels
        Width of the network.
    classes
        Outputs.
    inputs
        Channels of the input.

    Notes
    -----
    Made for inputs of (batch, 1, 8, 8), the pixels 0 to 1; any size will do.
    """

    def __init__(self, channels: int = 16, classes: int = 10, inputs: int = 1):
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(inputs, channels, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(channels), nn.ReLU()
        )
        self.block = Residual(channels)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.linear = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(torch.flatten(self.pool(self.block(self.stem(x))), 1))
