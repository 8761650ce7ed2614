"""Learned step sizes (LSQ)."""

import math

import numpy as np
import torch
from torch import Tensor

from twofold.train.quantizers.base import LEAST_SCALE, per_channel
from twofold.train.quantizers.digits import DigitQuantizer, weight_bits
from twofold.train.quantizers.uniform import GRANULARITIES


class LSQuantizer(DigitQuantizer, name="lsq"):
    """Integers ``-2**(bits-1)`` to ``2**(bits-1) - 1``, with a learned scale.

    The scale's gradient is ``round(x) - x`` inside the range and the clipping level outside, times
    ``1 / sqrt(weights * top)``; the weight's is 1 inside and 0 outside. Train it with ``learn = true``.

    Parameters
    ----------
    shape
        (M, N / groups, Kh, Kw) of the weights.
    bits
        2 to 8.
    granularity
        ``layer`` (the paper's) or ``channel``: what shares a scale.

    Source: [LSQ], section 2.
    """

    def __init__(self, shape: tuple[int, ...], *, bits: int, granularity: str = "layer"):
        super().__init__(shape)
        if granularity not in GRANULARITIES:
            raise ValueError(f"Granularity must be one of {GRANULARITIES}, not {granularity!r}")
        self.final_bits = self.bits = weight_bits(bits, "LSQ")
        self.granularity = granularity

    @property
    def top(self) -> float:
        return float((1 << (self.bits - 1)) - 1)

    @property
    def bottom(self) -> float:
        """Least level (LSBs)."""
        return -self.top - 1

    def set_bits(self, least: int) -> bool:
        self.bits = max(self.final_bits, least)
        return True

    def integers(self, x: Tensor) -> Tensor:
        return torch.round(x).clamp(self.bottom, self.top)

    def inside(self, x: Tensor) -> Tensor:
        return (x > self.bottom) & (x < self.top)

    @torch.no_grad()
    def calibrate(self, weight: Tensor) -> None:
        """The paper's start: ``2 * mean(|w|) / sqrt(top)``."""
        if self.granularity == "channel":
            mean = weight.abs().mean((1, 2, 3))
        else:
            mean = weight.abs().mean().expand(self.shape[0])
        scale = 2 * mean / math.sqrt(self.top)
        largest = float(scale.max()) or 1.0
        self.scale.copy_(scale.clamp(min=largest * LEAST_SCALE))

    def forward(self, weight: Tensor) -> Tensor:
        if not self.enabled or not self.scale.requires_grad:
            return super().forward(weight)
        shared = self.granularity == "layer"
        count = weight.numel() if shared else weight[0].numel()
        share = 1 / np.sqrt(count * self.top)
        # One scale for all channels is the first; the others follow it after each step.
        scale = self.scale[:1].expand_as(self.scale) if shared else self.scale
        scale = per_channel(scale.detach() + (scale * share - (scale * share).detach()))
        y = (weight / scale).clamp(self.bottom, self.top)
        return (y + (torch.round(y) - y).detach()) * scale * per_channel(self.gain)

    @torch.no_grad()
    def after_step(self) -> None:
        """Keep the scale positive, and one where it is shared."""
        self.scale.clamp_(min=1e-8)
        if self.granularity == "layer" and not self.frozen:
            self.scale.copy_(self.scale[:1].expand_as(self.scale).clone())
