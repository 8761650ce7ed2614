"""SSD-Lite on MobileNetV2: six maps of class scores and box offsets.

Source: [MobileNetV2], section 6.2.
"""

from typing import Any

from torch import Tensor, nn

from twofold.train.models.mobilenet import MobileNetV2, conv_norm_act

#: Blocks of the backbone up to the first map: the expansion of the block at stride 32.
FIRST = 14
#: Outputs of the layers behind the backbone, each at twice the stride of the one before.
EXTRAS = (512, 256, 256, 128)
#: Boxes at each position of each map.
BOXES = (3, 6, 6, 6, 6, 6)


def _separable(inputs: int, channels: int) -> nn.Sequential:
    """Depthwise 3x3 convolution and 1x1 convolution."""
    return nn.Sequential(conv_norm_act(inputs, inputs, 3, 1, nn.ReLU6, groups=inputs), nn.Conv2d(inputs, channels, 1))


class SSDLite(nn.Module):
    """Backbone to stride 32, four strided separable blocks, and two separable heads a map.

    Parameters
    ----------
    classes
        Scores a box, the background's included.
    inputs
        Channels of the input.
    width, last
        Of the backbone; the factor is also that of the blocks behind it.

    Notes
    -----
    The result is a pair: for each map (B, boxes * classes, H, W), and for each (B, boxes * 4, H, W), from the finest
    map to the coarsest. Made for 320x320.
    """

    def __init__(self, classes: int = 91, inputs: int = 3, *, width: float = 1.0, last: int = 1280):
        super().__init__()
        features: list[Any] = list(MobileNetV2(1, inputs, width=width, last=last).features)
        block = features[FIRST]
        self.stem = nn.Sequential(*features[:FIRST])
        self.expand: nn.Module = block.conv[0]
        self.rest = nn.Sequential(block.conv[1:], *features[FIRST + 1 :])
        channels: list[int] = [block.conv[0][0].out_channels, features[-1][0].out_channels]
        self.extras = nn.ModuleList()
        for extra in EXTRAS:
            there = max(8, int(extra * width))
            here, half = channels[-1], there // 2
            point, depth = (
                conv_norm_act(here, half, 1, 1, nn.ReLU6),
                conv_norm_act(half, half, 3, 2, nn.ReLU6, groups=half),
            )
            self.extras.append(nn.Sequential(point, depth, conv_norm_act(half, there, 1, 1, nn.ReLU6)))
            channels.append(there)
        pairs = list(zip(channels, BOXES, strict=True))
        self.scores = nn.ModuleList(_separable(here, boxes * classes) for here, boxes in pairs)
        self.offsets = nn.ModuleList(_separable(here, boxes * 4) for here, boxes in pairs)

    def forward(self, x: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        maps = [self.expand(self.stem(x))]
        maps.append(self.rest(maps[-1]))
        for extra in self.extras:
            maps.append(extra(maps[-1]))
        scores = [head(x) for head, x in zip(self.scores, maps, strict=True)]
        return scores, [head(x) for head, x in zip(self.offsets, maps, strict=True)]
