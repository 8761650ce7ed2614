"""A part of an activation's bits: what a convolution reads of a residual stream that keeps more of them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twofold.golden.number_format import NumberFormat
from twofold.golden.plain import check_flag, check_integers


@dataclass(frozen=True)
class Narrow(NumberFormat):
    """``clip(floor(x * 2**-drop), low, high) * 2**drop``: `bits` bits of an activation, in the LSBs of all of them.

    What writes the activation adds half of ``2**drop`` to it, and floor is rounding.

    Parameters
    ----------
    drop
        Low bits that are left out; 0 or more.
    bits
        Bits that are read, 2 or more; together at most the tensor's.
    signed
        As the tensor is.
    """

    drop: int
    bits: int
    signed: bool

    def __post_init__(self) -> None:
        check_integers("Bits of a narrow read", self.drop, self.bits)
        check_flag("Sign of a narrow read", self.signed)
        if self.drop < 0 or self.bits < 2:
            raise ValueError(
                f"Narrow read must drop 0 or more bits and have 2 or more, not {self.drop!r} and {self.bits!r}"
            )

    @property
    def half(self) -> int:
        """What is added to an activation, in its LSBs, so that floor rounds."""
        return (1 << self.drop) >> 1

    def of(self, x: NDArray[Any]) -> NDArray[Any]:
        """What is read of activations, in any number type that holds them."""
        step = 1 << self.drop
        read: NDArray[Any] = np.clip(x // step, self.low, self.high) * step
        return read
