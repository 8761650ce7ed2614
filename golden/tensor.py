"""Shape and number format of a tensor, and a tensor as a skip."""

import sys
from dataclasses import dataclass

from twofold.golden.number_format import NumberFormat
from twofold.golden.plain import check_flag, check_integers, check_name, is_number


@dataclass(frozen=True)
class Tensor(NumberFormat):
    """Shape and number format of an activation tensor.

    Parameters
    ----------
    shape
        (channels, height, width).
    bits, signed
        2 to 8 bits, two's complement where signed.
    scale
        Real value of one LSB.
    """

    shape: tuple[int, int, int]
    bits: int
    signed: bool
    scale: float

    def __post_init__(self) -> None:
        check_integers("Shape", *self.shape)
        check_integers("Activation bits", self.bits)
        check_flag("Signedness", self.signed)
        if len(self.shape) != 3 or min(self.shape) < 1:
            raise ValueError(f"Shape must be (channels, height, width), each at least 1, not {self.shape!r}")
        if not 2 <= self.bits <= 8:
            raise ValueError(f"Activation bits must be 2 to 8, not {self.bits!r}")
        if not (is_number(self.scale) and 0 < self.scale <= sys.float_info.max):
            raise ValueError(f"Scale must be positive and finite, not {self.scale!r}")


@dataclass(frozen=True)
class SkipTensor:
    """A tensor of the output's shape that is added in the requantiser, at the same channel and position.

    Parameters
    ----------
    source
        `INPUT` or the name of an earlier layer.
    shift
        An LSB of it is ``2**shift`` LSBs of the output; may be negative.
    """

    source: str
    shift: int

    def __post_init__(self) -> None:
        check_name("Source of the skip", self.source)
        check_integers("Shift of the skip", self.shift)
