"""Uniform symmetric weights: plain rounding with a scale from the range or of least squared error."""

import torch
from torch import Tensor

from twofold.train.quantizers.digits import DigitQuantizer, weight_bits
from twofold.train.quantizers.least_squares import l2_scales, usable

CALIBRATIONS = ("mse", "max")
GRANULARITIES = ("channel", "layer")


class UniformQuantizer(DigitQuantizer, name="uniform"):
    """Integers ``-(2**(bits-1) - 1)`` to ``2**(bits-1) - 1``; half to even.

    Parameters
    ----------
    shape
        (M, N / groups, Kh, Kw) of the weights.
    bits
        2 to 8.
    calibration
        ``mse``: the scale of least squared error. ``max``: the largest magnitude is the largest level.
    granularity
        ``channel`` or ``layer``: what shares a scale.
    """

    def __init__(self, shape: tuple[int, ...], *, bits: int, calibration: str = "mse", granularity: str = "channel"):
        super().__init__(shape)
        if calibration not in CALIBRATIONS:
            raise ValueError(f"Calibration must be one of {CALIBRATIONS}, not {calibration!r}")
        if granularity not in GRANULARITIES:
            raise ValueError(f"Granularity must be one of {GRANULARITIES}, not {granularity!r}")
        self.bits = weight_bits(bits, "Uniform")
        self.calibration, self.granularity = calibration, granularity

    @property
    def top(self) -> float:
        return float((1 << (self.bits - 1)) - 1)

    def grid(self) -> Tensor | None:
        return torch.arange(-self.top, self.top + 1) if self.bits < 8 else None

    def integers(self, x: Tensor) -> Tensor:
        return torch.round(x).clamp(-self.top, self.top)

    @torch.no_grad()
    def calibrate(self, weight: Tensor) -> None:
        """Choose the scales."""
        by_channel = self.granularity == "channel"
        if self.calibration == "max":
            largest = weight.abs().amax((1, 2, 3) if by_channel else (0, 1, 2, 3))
            self.scale.copy_(usable(largest.expand(self.shape[0]) / self.top))
        else:
            self.scale.copy_(l2_scales(weight, self.integers, self.top, by_channel=by_channel))
