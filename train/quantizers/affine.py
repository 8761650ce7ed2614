"""``2**bits`` evenly spaced levels over a range ([DQA], appendix): min-max and SAWB.

The levels are no multiples of their step in general, as 0 need not be one. On the array a weight is an integer, so the
offset is a fraction with few bits: integers are ``(i << fraction_bits) + offset``, i = 0 .. 2**bits - 1, and one LSB
is ``step / 2**fraction_bits``. They are exported as signed digits. For SAWB one bit is exact: the levels are the odd
numbers of half steps. For min-max the offset is rounded to `offset_bits` bits, in training as in the exported network,
so that both are the same numbers.
"""

import torch
from torch import Tensor

from twofold.train.quantizers.binary import positive
from twofold.train.quantizers.digits import DigitQuantizer, weight_bits
from twofold.train.quantizers.least_squares import l2_scales


class AffineQuantizer(DigitQuantizer):
    """Base of both.

    Attributes
    ----------
    offset : shape (1,)
        Least level (LSBs).
    """

    learns_scale = False

    def __init__(self, shape: tuple[int, ...], bits: int, fraction_bits: int, offset: float):
        super().__init__(shape)
        self.bits, self.fraction_bits = bits, fraction_bits
        self.offset: Tensor
        self.register_buffer("offset", torch.tensor([float(offset)]))

    @property
    def step(self) -> float:
        """LSBs between two levels."""
        return float(1 << self.fraction_bits)

    @property
    def count(self) -> int:
        """Steps from the least to the largest level."""
        return (1 << self.bits) - 1

    @property
    def top(self) -> float:
        low = float(self.offset)
        return max(-low, low + self.count * self.step)

    def integers(self, x: Tensor) -> Tensor:
        offset = self.offset.to(x)
        return torch.round((x - offset) / self.step).clamp(0, self.count) * self.step + offset


class MinMaxQuantizer(AffineQuantizer, name="minmax"):
    """``2**bits`` levels from the least to the largest weight of the layer. In training they follow the weights.

    Parameters
    ----------
    shape
        (M, N / groups, Kh, Kw) of the weights.
    bits
        1 to 8.
    offset_bits
        Fraction bits of the least level, in steps: it is off by at most ``2**-(offset_bits + 1)`` steps. More bits cost
        more words a weight.

    Source: [DQA] eq. 10; [BitPruning]. Eq. 13 leaves out ``- q1`` within the rounding.
    """

    def __init__(self, shape: tuple[int, ...], *, bits: int, offset_bits: int = 2):
        if type(bits) is not int or not 1 <= bits <= 8:
            raise ValueError(f"Min-max weight must be 1 to 8 bits, not {bits!r}")
        if type(offset_bits) is not int or not 0 <= offset_bits <= 8:
            raise ValueError(f"Offset bits must be 0 to 8, not {offset_bits!r}")
        super().__init__(shape, bits, offset_bits, -(1 << (bits - 1 + offset_bits)))

    @torch.no_grad()
    def refresh(self, weight: Tensor) -> None:
        low, high = weight.min(), weight.max()
        scale = (high - low) / (self.count * self.step)
        if float(scale) <= 0:
            scale = low.abs().clamp(min=1e-8) / self.step
        self.scale.copy_(scale.expand(self.shape[0]))
        self.offset.copy_(torch.round(low / scale))

    @torch.no_grad()
    def calibrate(self, weight: Tensor) -> None:
        """The range of the weights."""
        self.refresh(weight)


class SAWBQuantizer(AffineQuantizer, name="sawb"):
    """``2**bits`` levels over ``-alpha`` to alpha, of least squared error. In training, each step takes alpha one
    further step of alternating least squares, so that it follows the weights.

    Parameters
    ----------
    shape
        (M, N / groups, Kh, Kw) of the weights.
    bits
        2 to 8.

    Source: [DQA] eq. 11 and 12; [SAWB], whose formula in the moments of the weights approximates the same alpha.
    """

    def __init__(self, shape: tuple[int, ...], *, bits: int):
        super().__init__(shape, weight_bits(bits, "SAWB"), 1, 1 - (1 << bits))

    @property
    def magnitudes(self) -> tuple[int, ...]:
        return tuple(range(1, 1 << self.bits, 2))

    @property
    def alpha(self) -> float:
        """Largest level, in the weights' unit."""
        return float(self.scale[0]) * self.count

    @torch.no_grad()
    def refresh(self, weight: Tensor) -> None:
        q = self.integers(weight / self.scale[0])
        self.scale.copy_(positive(((weight * q).sum() / (q * q).sum()).expand(self.shape[0])))

    @torch.no_grad()
    def calibrate(self, weight: Tensor) -> None:
        """Least squared error."""
        self.scale.copy_(l2_scales(weight, self.integers, self.top, by_channel=False))
