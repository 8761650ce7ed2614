"""AlexNet, with the keys of torchvision's.

Source: [AlexNet], whose footnote describes this variant of one column.
"""

import torch
from torch import Tensor, nn

#: Channels, kernel and stride of each convolution, and whether a maximum follows.
LAYERS = ((64, 11, 4, True), (192, 5, 1, True), (384, 3, 1, False), (256, 3, 1, False), (256, 3, 1, True))


class AlexNet(nn.Module):
    """Five convolutions, an average to 6x6, three linear layers.

    Parameters
    ----------
    classes
        Outputs.
    inputs
        Channels of the input.
    width
        Factor of all channels and features.
    """

    def __init__(self, classes: int = 1000, inputs: int = 3, *, width: float = 1.0):
        super().__init__()
        layers: list[nn.Module] = []
        here = inputs
        for channels, size, stride, pooled in LAYERS:
            there = int(channels * width)
            # 2 at the first, too: less than half of its kernel.
            layers += [nn.Conv2d(here, there, size, stride=stride, padding=min(2, size // 2)), nn.ReLU()]
            if pooled:
                layers.append(nn.MaxPool2d(3, stride=2))
            here = there
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(6)
        hidden = int(4096 * width)
        self.classifier = nn.Sequential(
            *(nn.Dropout(), nn.Linear(here * 36, hidden), nn.ReLU()),
            *(nn.Dropout(), nn.Linear(hidden, hidden), nn.ReLU()),
            nn.Linear(hidden, classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(torch.flatten(self.avgpool(self.features(x)), 1))
