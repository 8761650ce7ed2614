"""A pointwise function of a layer's requantised values, as a table: integers in, integers out."""

import sys
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twofold.golden.number_format import NumberFormat

#: Bits that the value before a table can have.
TABLE_BITS = (2, 10)


@dataclass(frozen=True, eq=False)
class PointwiseTable(NumberFormat):
    """``entries[value - low]``: what becomes of every value that requantisation can give.

    Parameters
    ----------
    bits, signed
        Number format of the value; 2 to 10 bits, two's complement where signed.
    scale
        Real value of its LSB.
    entries : int64, shape (2**bits,)
        Results in LSBs of the layer's output, that of the least value first.
    """

    bits: int
    signed: bool
    scale: float
    entries: NDArray[np.int64]

    def __post_init__(self) -> None:
        least, most = TABLE_BITS
        if isinstance(self.bits, bool) or not isinstance(self.bits, (int, np.integer)):
            raise TypeError(f"Bits of a table must be an integer, not {self.bits!r}")
        if not least <= self.bits <= most:
            raise ValueError(f"Bits of a table must be {least} to {most}, not {self.bits!r}")
        if not isinstance(self.signed, (bool, np.bool_)):
            raise TypeError(f"Signedness of a table must be true or false, not {self.signed!r}")
        if not (isinstance(self.scale, Real) and not isinstance(self.scale, bool)):
            raise TypeError(f"Scale of a table must be a number, not {self.scale!r}")
        if not 0 < self.scale <= sys.float_info.max:
            raise ValueError(f"Scale of a table must be positive and finite, not {self.scale!r}")
        if self.entries.dtype != np.int64 or self.entries.shape != (1 << self.bits,):
            raise ValueError(
                f"Entries of a table must be int64 of shape ({1 << self.bits},), "
                f"not {self.entries.dtype} of {self.entries.shape}"
            )

    def look_up(self, values: NDArray[Any]) -> NDArray[np.int64]:
        """The entries of values within the format, of any shape and of a type that holds them exactly."""
        return self.entries[values.astype(np.int64) - self.low]

    def range(self, low: int, high: int) -> tuple[int, int]:
        """Least and largest entry of the values from `low` to `high`."""
        part = self.entries[low - self.low : high - self.low + 1]
        return int(part.min()), int(part.max())

    def words(self, index_bits: int, bits: int) -> tuple[int, ...]:
        """Lines of the machine's memory: an index is the value's low `index_bits` bits, a line an entry's `bits`.

        Beyond the values of the format they come again.
        """
        found = self.entries[(np.arange(1 << index_bits) - self.low) % (1 << self.bits)]
        return tuple((found & ((1 << bits) - 1)).tolist())
