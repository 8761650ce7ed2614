"""Single power-of-two words in the manner of DeepShift-Q."""

import torch
from torch import Tensor

from twofold.golden import catalog
from twofold.train.quantizers.digits import DigitQuantizer


class DeepShiftQuantizer(DigitQuantizer, name="deepshift"):
    """``sign(w) * 2**round(log2|w|)``, exponents clamped to the word's range; only an exact 0 is 0.

    Parameters
    ----------
    shape
        (M, N / groups, Kh, Kw) of the weights.
    bits
        2 to 5, sign included.
    top_exponent
        Exponent of the largest level: the source's is 0. ``None`` takes that nearest to the largest weight, which batch
        norm, folded into the weights, may put anywhere.

    Notes
    -----
    The source has ``2**(bits-1)`` exponents and no code for 0; a log word gives up the least of them for 0.

    Source: [DeepShift], DeepShift-Q.
    """

    learns_scale = False

    def __init__(self, shape: tuple[int, ...], *, bits: int, top_exponent: int | None = None):
        super().__init__(shape)
        if top_exponent is not None and type(top_exponent) is not int:
            raise ValueError(f"Top exponent must be an integer or left out, not {top_exponent!r}")
        self.levels = catalog.log_format(bits).universal_set
        self.bits, self.top_exponent = bits, top_exponent

    @property
    def top(self) -> float:
        return float(self.levels[-1])

    @property
    def magnitudes(self) -> tuple[int, ...]:
        return self.levels

    def integers(self, x: Tensor) -> Tensor:
        power = torch.round(torch.log2(x.abs().clamp(min=1e-30))).clamp(0, self.levels[-1].bit_length() - 1)
        return torch.sign(x) * torch.exp2(power)

    @torch.no_grad()
    def calibrate(self, weight: Tensor) -> None:
        """Take the power of two of the largest level."""
        largest = weight.abs().max()
        exponent = self.top_exponent
        if exponent is None:
            exponent = int(torch.round(torch.log2(largest))) if largest > 0 else 0
        self.scale.fill_(2.0**exponent / self.top)
