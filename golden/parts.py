"""Parts of a layer's output: positions at a step from each other, each part with branches and multipliers of its own.

A transposed convolution of stride s is s x s ordinary ones, the *phases*: each gives every s-th position of every s-th
row. So nothing multiplies the zeros that would stand between the inputs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from twofold.golden.plain import check_integers

Pair = tuple[int, int]
#: Largest step along a row, which the machine counts with.
MOST_STEP = 15


@dataclass(frozen=True)
class Part:
    """Positions (offset + n * step) along each axis, for n below `size`; pairs are (vertical, horizontal)."""

    offset: Pair
    step: Pair
    size: Pair

    def __post_init__(self) -> None:
        for key in ("offset", "step", "size"):
            values = getattr(self, key)
            check_integers(f"{key.capitalize()} of a part", *values)
            if len(values) != 2 or min(values) < int(key != "offset"):
                raise ValueError(f"{key.capitalize()} of a part must be a pair of numbers, not {values!r}")
        if max(self.step) > MOST_STEP:
            raise ValueError(f"Step of a part must be at most {MOST_STEP}, not {self.step!r}")

    @property
    def places(self) -> tuple[slice, slice]:
        """Index of the part's rows and columns in a map."""
        vertical, horizontal = (
            slice(first, first + (count - 1) * step + 1, step)
            for first, count, step in zip(self.offset, self.size, self.step, strict=True)
        )
        return vertical, horizontal


def check_parts(parts: Sequence[Part], size: Pair) -> None:
    """See that each position of a map (height, width) is in one part.

    Raises
    ------
    ValueError
        If one is in none or in several, or a part reaches beyond the map.
    """
    times = np.zeros(size, dtype=np.int64)
    for part in parts:
        ends = [o + (n - 1) * s + 1 for o, n, s in zip(part.offset, part.size, part.step, strict=True)]
        if ends[0] > size[0] or ends[1] > size[1]:
            raise ValueError(f"part must end within {size!r}, not at {tuple(ends)!r}")
        times[part.places] += 1
    if (times != 1).any():
        raise ValueError(f"parts must hold each position once, not {int(times.min())} to {int(times.max())} times")
