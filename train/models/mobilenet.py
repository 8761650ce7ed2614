"""MobileNetV1 and MobileNetV2 (the keys of torchvision's).

Sources: [MobileNet], table 1; [MobileNetV2], table 2.
"""

import torch
from torch import Tensor, nn

#: MobileNetV1: channels and stride of each separable convolution.
V1_BLOCKS = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *5 * ((512, 1),), (1024, 2), (1024, 1))
#: MobileNetV2: expansion, channels, number and first stride of the blocks of each stage.
V2_STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))


def conv_norm_act(
    inputs: int, channels: int, size: int, stride: int, act: type[nn.Module], groups: int = 1
) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, channels, size, stride=stride, padding=size // 2, groups=groups, bias=False),
        nn.BatchNorm2d(channels),
        act(),
    )


class MobileNetV1(nn.Module):
    """Depthwise separable convolutions.

    Parameters
    ----------
    classes
        Outputs.
    inputs
        Channels of the input.
    small
        For images of about 32x32: the first two strides are 1.
    width
        Factor of all channels.
    """

    def __init__(self, classes: int = 1000, inputs: int = 3, *, small: bool = False, width: float = 1.0):
        super().__init__()
        here = _scaled(32, width)
        layers: list[nn.Module] = [conv_norm_act(inputs, here, 3, 1 if small else 2, nn.ReLU)]
        strided = 0
        for channels, stride in V1_BLOCKS:
            strided += stride - 1
            step = 1 if small and strided == 1 else stride
            there = _scaled(channels, width)
            layers += [
                conv_norm_act(here, here, 3, step, nn.ReLU, groups=here),
                conv_norm_act(here, there, 1, 1, nn.ReLU),
            ]
            here = there
        self.features = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(here, classes)
        _initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(torch.flatten(self.pool(self.features(x)), 1))


class InvertedResidual(nn.Module):
    """1x1 convolution to more channels, depthwise 3x3, 1x1 back; added to the input where the shape stays."""

    def __init__(self, inputs: int, channels: int, stride: int, expansion: int):
        super().__init__()
        hidden = inputs * expansion
        self.use_res_connect = stride == 1 and inputs == channels
        layers: list[nn.Module] = [] if expansion == 1 else [conv_norm_act(inputs, hidden, 1, 1, nn.ReLU6)]
        layers += [
            conv_norm_act(hidden, hidden, 3, stride, nn.ReLU6, groups=hidden),
            nn.Conv2d(hidden, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
        ]
        self.conv = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.use_res_connect else self.conv(x)


class MobileNetV2(nn.Module):
    """Inverted residuals with linear bottlenecks.

    Parameters
    ----------
    classes, inputs, small, width
        As for `MobileNetV1`.
    last
        Channels of the last convolution, to which only factors above 1 apply.
    """

    def __init__(
        self, classes: int = 1000, inputs: int = 3, *, small: bool = False, width: float = 1.0, last: int = 1280
    ):
        super().__init__()
        here = _scaled(32, width)
        layers: list[nn.Module] = [conv_norm_act(inputs, here, 3, 1 if small else 2, nn.ReLU6)]
        for number, (expansion, channels, blocks, first) in enumerate(V2_STAGES):
            there = _scaled(channels, width)
            for block in range(blocks):
                stride = first if block == 0 and not (small and number == 1) else 1
                layers.append(InvertedResidual(here, there, stride, expansion))
                here = there
        last = _scaled(last, max(1.0, width))
        layers.append(conv_norm_act(here, last, 1, 1, nn.ReLU6))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(last, classes))
        _initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.adaptive_avg_pool2d(self.features(x), 1)
        return self.classifier(torch.flatten(x, 1))


def _scaled(channels: int, width: float) -> int:
    """Channels times the factor, a multiple of 8 that is not more than 10 % below."""
    wanted = channels * width
    rounded = max(8, int(wanted + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * wanted else rounded


def _initialise(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out")
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 0, 0.01)
            nn.init.zeros_(module.bias)
