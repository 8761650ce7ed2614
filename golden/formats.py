"""What a weight code means: how words are built (`WeightFormat`) and which points a layer uses (`PointSet`).

A *word* is a sign and one or two terms, which a processing element applies in a cycle. Training, golden model, mapper,
images and hardware read these two objects; no level, shift or bit position is stated elsewhere.
"""

from dataclasses import dataclass
from functools import cached_property
from itertools import product
from numbers import Integral


@dataclass(frozen=True)
class WeightFormat:
    """How the levels of a word are built. Fixed when hardware is generated: it is the multiplexers' wiring.

    Parameters
    ----------
    menus : one tuple per term
        Left shifts (bits) that the term's multiplexer can pick; ``None`` stands for "off".
    index_bits
        Width of the index (bits); a layer uses ``2**index_bits`` points.
    spare
        Left shift of the extra negative level that the code "negative zero" stands for, or ``None``
        where that code is a second zero. Only formats of one term have it, and it is in the menu.

    Raises
    ------
    TypeError
        If a shift or the index width is not an integer.
    ValueError
        If a menu is empty, repeats an entry, holds a shift outside 0 to 15, or the index has no bit.
    """

    menus: tuple[tuple[int | None, ...], ...]
    index_bits: int
    spare: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.index_bits, int) or isinstance(self.index_bits, bool):
            raise TypeError(f"Index width must be an integer, not {self.index_bits!r}")
        if not 1 <= self.index_bits <= 7:
            raise ValueError(f"Index width must be 1 to 7 bits, not {self.index_bits!r}")
        if not self.menus:
            raise ValueError(f"Format must have at least one term, not {self.menus!r}")
        for menu in self.menus:
            if not menu:
                raise ValueError(f"Menu must have at least one shift, not {menu!r}")
            if len(set(menu)) != len(menu):
                raise ValueError(f"Menu must not repeat an entry, not {menu!r}")
            for shift in menu:
                if shift is not None and (not isinstance(shift, int) or isinstance(shift, bool)):
                    raise TypeError(f"Shift must be an integer or None, not {shift!r}")
                if shift is not None and not 0 <= shift <= 15:
                    raise ValueError(f"Shift must be 0 to 15, not {shift!r}")
        if self.spare is not None and (not isinstance(self.spare, int) or isinstance(self.spare, bool)):
            raise TypeError(f"Spare shift must be an integer or None, not {self.spare!r}")
        if self.spare is not None and (len(self.menus) != 1 or self.spare not in self.menus[0]):
            raise ValueError(f"Spare shift must be in the menu of a format of one term, not {self.spare!r}")

    @property
    def code_bits(self) -> int:
        """Width of a weight code (bits): the index, and above it the sign."""
        return self.index_bits + 1

    @property
    def point_count(self) -> int:
        """Number of points that an index can name."""
        return 1 << self.index_bits

    @property
    def code_fields(self) -> dict[str, int]:
        """Fields of a code and their widths (bits), least significant first."""
        return {"index": self.index_bits, "sign": 1}

    @property
    def row_fields(self) -> dict[str, int]:
        """Fields of a row of the decoder's table and their widths (bits), likewise: one select a term."""
        return {f"term{n}": max(1, (len(menu) - 1).bit_length()) for n, menu in enumerate(self.menus)}

    @cached_property
    def picks(self) -> dict[int, tuple[int, ...]]:
        """Every level (LSBs), ascending, with the menu entry that each term picks to build it.

        Where several picks build one level, the first in menu order is the one used.
        """
        table: dict[int, tuple[int, ...]] = {}
        for picks in product(*(range(len(menu)) for menu in self.menus)):
            shifts = [menu[pick] for menu, pick in zip(self.menus, picks, strict=True)]
            table.setdefault(sum(1 << s for s in shifts if s is not None), picks)
        return dict(sorted(table.items()))

    @property
    def universal_set(self) -> tuple[int, ...]:
        """Every level that the terms can build (LSBs), ascending."""
        return tuple(self.picks)

    @property
    def max_level(self) -> int:
        """The largest level (LSBs)."""
        return max(self.picks)

    @property
    def digit_shift(self) -> int:
        """Left shift (bits) of the word that stands for digit 1: the asymmetric log word has no +1, but +2."""
        return 0 if self.spare is None else self.spare + 1

    @cached_property
    def radix_bits(self) -> int:
        """Largest k for which a word can be any signed digit of radix ``2**k``: every level 0 to ``2**(k-1)``.

        Radix 4 takes ``{0, +-1, +-2}``, radix 8 ``{0, +-1 .. +-4}``; radix 2 takes ``{0, +-1}``.

        Raises
        ------
        ValueError
            If a word cannot even be 0 and 1.
        """
        k = 0
        while self._has_digits(digit_levels(k + 1)):
            k += 1
        if k == 0:
            raise ValueError(f"Levels must hold the digits 0 and 1, not {self.universal_set!r}")
        return k

    def _has_digits(self, digits: tuple[int, ...]) -> bool:
        levels = [digit << self.digit_shift for digit in digits]
        return len(digits) <= self.point_count and all(level in self.picks for level in levels)


def digit_levels(radix_bits: int) -> tuple[int, ...]:
    """Magnitudes of the signed digits of radix ``2**radix_bits``, ascending (Booth's minimal set)."""
    return (0, 1) if radix_bits == 1 else tuple(range((1 << (radix_bits - 1)) + 1))


@dataclass(frozen=True)
class PointSet:
    """The points of one layer, in index order (the QPS). Loaded at run time: it is the decoder's table.

    Parameters
    ----------
    fmt
        How the points are built.
    levels
        ``2**index_bits`` levels (LSBs) out of the format's universal set.

    Raises
    ------
    ValueError
        If there are too few or too many levels, or one is not in the universal set.
    """

    fmt: WeightFormat
    levels: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.levels) != self.fmt.point_count:
            raise ValueError(f"Point set must have {self.fmt.point_count} levels, not {len(self.levels)!r}")
        for level in self.levels:
            if not isinstance(level, Integral) or isinstance(level, bool):
                raise TypeError(f"Level must be an integer, not {level!r}")
            if level not in self.fmt.picks:
                raise ValueError(f"Level must be one of {self.fmt.universal_set}, not {level!r}")

    @property
    def rows(self) -> tuple[tuple[int, ...], ...]:
        """The decoder's table: for each index the select of each term."""
        return tuple(self.fmt.picks[level] for level in self.levels)

    @cached_property
    def values(self) -> tuple[int, ...]:
        """The integer weight (LSBs) of every code, in code order: index in the low bits, sign above."""
        positive = list(self.levels)
        negative = [-level for level in self.levels]
        if self.fmt.spare is not None:
            negative[0] = -(1 << self.fmt.spare)
        return tuple(positive + negative)

    @cached_property
    def codes(self) -> dict[int, int]:
        """Code of every integer weight (LSBs) that a word can take; the lowest code where there are two."""
        table: dict[int, int] = {}
        for code, value in enumerate(self.values):
            table.setdefault(value, code)
        return table

    def encode(self, value: int) -> int:
        """Code of an integer weight (LSBs).

        Raises
        ------
        ValueError
            If the point set has no such value.
        """
        if value not in self.codes:
            raise ValueError(f"Weight must be one of {tuple(sorted(self.codes))}, not {value!r}")
        return self.codes[value]

    @property
    def has_zero(self) -> bool:
        """Whether some code stands for zero."""
        return 0 in self.codes
