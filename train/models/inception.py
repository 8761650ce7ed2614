"""InceptionV3 without its auxiliary output, with the keys of torchvision's.

Source: [InceptionV3], section 6; names and channels are torchvision's.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Size = tuple[int, int]
#: Chains of a block: by name, outputs and kernel (height, width) of each convolution.
Chains = dict[str, list[tuple[int, Size]]]

POINT, SQUARE, ROW, COLUMN = (1, 1), (3, 3), (1, 7), (7, 1)
DOUBLE = [(64, POINT), (96, SQUARE), (96, SQUARE)]
CHAINS_35: Chains = {
    "branch1x1": [(64, POINT)],
    "branch5x5": [(48, POINT), (64, (5, 5))],
    "branch3x3dbl": DOUBLE,
}
CHAINS_35_TO_17: Chains = {"branch3x3": [(384, SQUARE)], "branch3x3dbl": DOUBLE}
CHAINS_17_TO_8: Chains = {
    "branch3x3": [(192, POINT), (320, SQUARE)],
    "branch7x7x3": [(192, POINT), (192, ROW), (192, COLUMN), (192, SQUARE)],
}
CHAINS_8: Chains = {
    "branch1x1": [(320, POINT)],
    "branch3x3": [(384, POINT)],
    "branch3x3dbl": [(448, POINT), (384, SQUARE)],
}
#: Outputs of each half of a fork.
FORK = 384


def chains_17(middle: int) -> Chains:
    """Chains of a block at 17x17 positions, with so many channels between their convolutions."""
    return {
        "branch1x1": [(192, POINT)],
        "branch7x7": [(middle, POINT), (middle, ROW), (192, COLUMN)],
        "branch7x7dbl": [(middle, POINT), (middle, COLUMN), (middle, ROW), (middle, COLUMN), (192, ROW)],
    }


class Convolution(nn.Module):
    """Convolution, batch norm, ReLU."""

    def __init__(self, inputs: int, channels: int, size: Size, *, stride: int = 1, padded: bool = True):
        super().__init__()
        padding = (size[0] // 2, size[1] // 2) if padded else (0, 0)
        self.conv = nn.Conv2d(inputs, channels, size, stride=stride, padding=padding, bias=False)
        self.bn = nn.BatchNorm2d(channels, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)))


class Mixed(nn.Module):
    """Chains of convolutions and a pooling side by side; their results are concatenated.

    Parameters
    ----------
    inputs
        Channels of the input.
    chains
        What they are made of; the convolutions of a chain of several are numbered from 1.
    width
        Factor of all channels.
    pooled
        Channels of a 1x1 convolution behind an average over 3x3; without: the pooling is a maximum, and it and the
        last convolution of each chain have stride 2 and no padding.
    forks
        Chains that end with a 1x3 and a 3x1 convolution side by side.
    """

    def __init__(self, inputs: int, chains: Chains, width: float, *, pooled: int = 0, forks: tuple[str, ...] = ()):
        super().__init__()
        #: Names of the layers of each chain, and of its fork.
        self.chains: list[tuple[list[str], list[str]]] = []
        self.outputs = scaled(pooled, width) if pooled else inputs
        for name, layers in chains.items():
            here, names, fork = inputs, [], []
            several = len(layers) > 1 or name in forks
            for number, (channels, size) in enumerate(layers, start=1):
                strided = not pooled and number == len(layers)
                layer = Convolution(here, scaled(channels, width), size, stride=1 + strided, padded=not strided)
                names.append(f"{name}_{number}" if several else name)
                self.add_module(names[-1], layer)
                here = scaled(channels, width)
            if name in forks:
                fork = [f"{name}_{len(layers) + 1}{half}" for half in "ab"]
                for half, size in zip(fork, ((1, 3), (3, 1)), strict=True):
                    self.add_module(half, Convolution(here, scaled(FORK, width), size))
                here = 2 * scaled(FORK, width)
            self.chains.append((names, fork))
            self.outputs += here
        self.branch_pool = Convolution(inputs, scaled(pooled, width), POINT) if pooled else None

    def forward(self, x: Tensor) -> Tensor:
        parts = []
        for names, fork in self.chains:
            y = x
            for name in names:
                y = getattr(self, name)(y)
            parts += [getattr(self, name)(y) for name in fork] or [y]
        if self.branch_pool is None:
            parts.append(F.max_pool2d(x, 3, stride=2))
        else:
            parts.append(self.branch_pool(F.avg_pool2d(x, 3, stride=1, padding=1)))
        return torch.cat(parts, 1)


class InceptionV3(nn.Module):
    """Five convolutions, eleven blocks of chains, average, linear layer.

    Parameters
    ----------
    classes
        Outputs.
    inputs
        Channels of the input.
    width
        Factor of all channels.

    Notes
    -----
    Made for images of 299x299 whose values lie between -1 and 1; 75x75 at least.
    """

    def __init__(self, classes: int = 1000, inputs: int = 3, *, width: float = 1.0):
        super().__init__()
        a, b, c, d = (scaled(channels, width) for channels in (32, 64, 80, 192))
        self.Conv2d_1a_3x3 = Convolution(inputs, a, SQUARE, stride=2, padded=False)
        self.Conv2d_2a_3x3 = Convolution(a, a, SQUARE, padded=False)
        self.Conv2d_2b_3x3 = Convolution(a, b, SQUARE)
        self.maxpool1 = nn.MaxPool2d(3, stride=2)
        self.Conv2d_3b_1x1 = Convolution(b, c, POINT)
        self.Conv2d_4a_3x3 = Convolution(c, d, SQUARE, padded=False)
        self.maxpool2 = nn.MaxPool2d(3, stride=2)
        self.blocks: list[str] = []
        here = d
        for name, chains, pooled in (
            *[(f"Mixed_5{part}", CHAINS_35, pooled) for part, pooled in zip("bcd", (32, 64, 64), strict=True)],
            ("Mixed_6a", CHAINS_35_TO_17, 0),
            *[(f"Mixed_6{part}", chains_17(n), 192) for part, n in zip("bcde", (128, 160, 160, 192), strict=True)],
            ("Mixed_7a", CHAINS_17_TO_8, 0),
            *[(f"Mixed_7{part}", CHAINS_8, 192) for part in "bc"],
        ):
            forks = ("branch3x3", "branch3x3dbl") if chains is CHAINS_8 else ()
            block = Mixed(here, chains, width, pooled=pooled, forks=forks)
            self.add_module(name, block)
            self.blocks.append(name)
            here = block.outputs
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout()
        self.fc = nn.Linear(here, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool1(self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x))))
        x = self.maxpool2(self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x)))
        for name in self.blocks:
            x = getattr(self, name)(x)
        return self.fc(self.dropout(torch.flatten(self.avgpool(x), 1)))


def scaled(channels: int, width: float) -> int:
    """Channels times the factor, at least 1."""
    return max(1, int(channels * width))
