"""SmallVGG: the plain network of six convolutions that quantization papers use on CIFAR-10.

Source: [LQ-Nets], section 5 (VGG-Small).
"""

import torch
from torch import Tensor, nn


class SmallVGG(nn.Module):
    """Three pairs of 3x3 convolutions, each followed by a maximum over 2x2; one linear layer.

    Parameters
    ----------
    classes
        Outputs.
    inputs
        Channels of the input.
    width
        Channels of the first pair; the next have twice as many.
    """

    def __init__(self, classes: int = 10, inputs: int = 3, *, width: int = 128):
        super().__init__()
        layers: list[nn.Module] = []
        for channels in (width, 2 * width, 4 * width):
            for _ in range(2):
                layers += [nn.Conv2d(inputs, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels), nn.ReLU()]
                inputs = channels
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(inputs, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(torch.flatten(self.pool(self.features(x)), 1))
