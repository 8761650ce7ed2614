"""Fields of bits and records of them: how lines, beats and registers are made of numbers. Standard library only."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate


@dataclass(frozen=True)
class Field:
    """A number in a record.

    Parameters
    ----------
    width
        In bits.
    signed
        Two's complement.
    """

    width: int
    signed: bool = False

    @property
    def low(self) -> int:
        """Least value."""
        return -(1 << (self.width - 1)) if self.signed else 0

    @property
    def high(self) -> int:
        """Largest value."""
        return (1 << (self.width - self.signed)) - 1


@dataclass(frozen=True)
class Record:
    """Fields side by side in one integer, the first in the lowest bits.

    Parameters
    ----------
    fields
        By name.
    """

    fields: Mapping[str, Field]

    @classmethod
    def unsigned(cls, widths: Mapping[str, int]) -> "Record":
        """A record of unsigned fields, given by their widths (bits)."""
        return cls({name: Field(width) for name, width in widths.items()})

    def __getitem__(self, name: str) -> Field:
        return self.fields[name]

    @cached_property
    def widths(self) -> dict[str, int]:
        """Width of each field (bits), lowest field first."""
        return {name: field.width for name, field in self.fields.items()}

    @cached_property
    def width(self) -> int:
        """Bits of the whole."""
        return sum(self.widths.values())

    @property
    def places(self) -> dict[str, int]:
        """Lowest bit of each field."""
        return dict(zip(self.fields, accumulate(self.widths.values(), initial=0), strict=False))

    def pack(self, values: Mapping[str, int]) -> int:
        """Integer whose bits are the fields' values.

        Raises
        ------
        ValueError
            If a value does not fit in its field, or the names differ.
        """
        if set(values) != set(self.fields):
            raise ValueError(f"Fields must be {tuple(self.fields)}, not {tuple(values)}")
        word = position = 0
        for name, field in self.fields.items():
            value = values[name]
            if not field.low <= value <= field.high:
                raise ValueError(f"{name} must be {field.low} to {field.high}, not {value!r}")
            word |= (value & ((1 << field.width) - 1)) << position
            position += field.width
        return word

    def unpack(self, word: int) -> dict[str, int]:
        """The fields' values of an integer; the reverse of `pack`."""
        values = {}
        for name, field in self.fields.items():
            value = word & ((1 << field.width) - 1)
            values[name] = value - (1 << field.width) if value > field.high else value
            word >>= field.width
        return values
