"""Uniform symmetric weights, which run on any array as signed digits."""

import numpy as np
import torch
from torch import Tensor

from golden import catalog
from golden.digits import digit_codes
from golden.formats import WeightFormat
from train.quantizers.base import CodedWeights, WeightQuantizer, l2_scales, per_channel


class UniformQuantizer(WeightQuantizer):
    """Integers ``-(2**(bits-1) - 1)`` to ``2**(bits-1) - 1``, one scale an output channel; half to even.

    Parameters
    ----------
    shape
        (M, N / groups, Kh, Kw) of the weights.
    bits
        2 to 8.
    """

    def __init__(self, shape: tuple[int, ...], *, bits: int):
        super().__init__(shape)
        if not isinstance(bits, int) or not 2 <= bits <= 8:
            raise ValueError(f"Uniform weight must be 2 to 8 bits, not {bits!r}")
        self.bits = bits

    @property
    def top(self) -> float:
        return float((1 << (self.bits - 1)) - 1)

    def integers(self, x: Tensor) -> Tensor:
        return torch.round(x).clamp(-self.top, self.top)

    @torch.no_grad()
    def calibrate(self, weight: Tensor) -> None:
        """Scales of least squared error."""
        self.scale.copy_(l2_scales(weight, self.integers, self.top))

    def encode(self, weight: Tensor, fmt: WeightFormat) -> CodedWeights:
        points = catalog.digit_points(fmt)
        with torch.no_grad():
            values = self.integers(weight / per_channel(self.scale)).numpy().astype(np.int64)
        codes, shifts = digit_codes(values, points)
        scale = (self.scale * self.gain).double().numpy() / (1 << fmt.digit_shift)
        return CodedWeights(codes, shifts, points, scale)
