"""The U-Net of the low-light papers: a packed Bayer mosaic in, an RGB image of twice the side out.

Source: [SID]; names of the layers are those of the authors' code.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class SeeInTheDark(nn.Module):
    """Four halvings by maxima, four doublings by transposed convolutions, pixel shuffle.

    Parameters
    ----------
    classes
        Channels of the result.
    inputs
        Channels of the input: the colours of the mosaic, each a quarter of its positions.
    width
        Channels of the first stage; each has twice those of the one before.

    Notes
    -----
    (B, inputs, H, W) to (B, classes, 2 H, 2 W); H and W are multiples of 16. Leaky ReLU of slope 0.2 everywhere.
    """

    def __init__(self, classes: int = 3, inputs: int = 4, *, width: int = 32):
        super().__init__()
        here = inputs
        for stage in range(1, 6):
            there = width << (stage - 1)
            self._pair(stage, here, there)
            here = there
        for stage in range(6, 10):
            there = here // 2
            self.add_module(f"upv{stage}", nn.ConvTranspose2d(here, there, 2, stride=2, bias=False))
            self._pair(stage, here, there)
            here = there
        self.conv10_1 = nn.Conv2d(here, 4 * classes, 1)

    def _pair(self, stage: int, inputs: int, channels: int) -> None:
        self.add_module(f"conv{stage}_1", nn.Conv2d(inputs, channels, 3, padding=1))
        self.add_module(f"conv{stage}_2", nn.Conv2d(channels, channels, 3, padding=1))

    def _stage(self, stage: int, x: Tensor) -> Tensor:
        for half in (1, 2):
            x = F.leaky_relu(getattr(self, f"conv{stage}_{half}")(x), 0.2)
        return x

    def forward(self, x: Tensor) -> Tensor:
        kept: list[Tensor] = []
        for stage in range(1, 5):
            kept.append(self._stage(stage, x))
            x = F.max_pool2d(kept[-1], 2)
        x = self._stage(5, x)
        for stage in range(6, 10):
            x = torch.cat((getattr(self, f"upv{stage}")(x), kept.pop()), 1)
            x = self._stage(stage, x)
        return F.pixel_shuffle(self.conv10_1(x), 2)
