"""In which shape and order a user gets an output, where that is not the map's: heads of detectors, channels last."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twofold.golden.plain import check_integers

#: Most axes: those of any real head, and few enough for every library.
MOST_AXES = 16


@dataclass(frozen=True)
class Order:
    """``map.reshape(split).transpose(axes).reshape(shape)``.

    Parameters
    ----------
    split
        Sizes of the axes into which a map of (channels, height, width) is cut, all its values.
    axes
        In which order these come, each once.
    shape
        Of the result.
    """

    split: tuple[int, ...]
    axes: tuple[int, ...]
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        for key in ("split", "axes", "shape"):
            sizes = getattr(self, key)
            check_integers(f"{key.capitalize()} of an order", *sizes)
            if not 1 <= len(sizes) <= MOST_AXES or (key != "axes" and min(sizes) < 1):
                raise ValueError(f"{key.capitalize()} of an order must be 1 to {MOST_AXES} sizes, not {sizes!r}")
        if sorted(self.axes) != list(range(len(self.split))):
            raise ValueError(f"Axes of an order must be 0 to {len(self.split) - 1}, each once, not {self.axes!r}")
        if prod(self.shape) != prod(self.split):
            raise ValueError(f"Shape of an order must be of {prod(self.split)} values, not {self.shape!r}")

    def check(self, shape: tuple[int, ...]) -> None:
        """Refuse an order of other maps than those of this shape."""
        if prod(self.split) != prod(shape):
            raise ValueError(f"Order must be of {prod(shape)} values, not {prod(self.split)}")

    def changes(self, shape: tuple[int, ...]) -> bool:
        """Whether a map of this shape, axes of length 1 apart, comes out otherwise."""
        lengths = [[length for length in sizes if length > 1] for sizes in (self.shape, shape)]
        return self.axes != tuple(sorted(self.axes)) or lengths[0] != lengths[1]

    def of(self, maps: NDArray[Any]) -> NDArray[Any]:
        """The result of maps of shape (..., C, H, W): of shape (..., *shape)."""
        lead = maps.shape[:-3]
        axes = (*range(len(lead)), *(len(lead) + axis for axis in self.axes))
        return maps.reshape(*lead, *self.split).transpose(axes).reshape(*lead, *self.shape)


def channels_last(shape: tuple[int, int, int]) -> Order:
    """The order (height, width, channels) of maps of this shape, (channels, height, width)."""
    return Order(shape, (1, 2, 0), (*shape[1:], shape[0]))


def read_order(fields: Mapping[str, Sequence[int]]) -> Order:
    """An order out of a file, which has lists; raises like `Order`."""
    return Order(**{key: tuple(sizes) for key, sizes in fields.items()})


def order_of(numbers: NDArray[np.integer]) -> Order:
    """The order that gives these values.

    Parameters
    ----------
    numbers
        In the shape of the result: where the map, flattened, has each value.

    Raises
    ------
    ValueError
        If that is no order: a value is missing or comes twice, or an axis is reversed, or cut where the map is not.
    """
    steps, rest = list[tuple[int, int]](), numbers.reshape(-1)
    while len(rest) > 1:
        step = int(rest[1] - rest[0])
        ends = np.flatnonzero(np.diff(rest) != step)
        size = int(ends[0]) + 1 if len(ends) else len(rest)
        if len(rest) % size or (rest.reshape(-1, size) != rest[::size, None] + step * np.arange(size)).any():
            raise ValueError(f"Values must be moved by whole axes, not to {rest[: 2 * size].tolist()}")
        steps.append((step, size))
        rest = rest[::size]
    below = 1
    for step, size in sorted(steps):
        if step != below:
            raise ValueError(f"Each value must come once, in steps upwards, not at a step of {step}")
        below *= size
    if rest[0]:
        raise ValueError(f"The first value must be the map's, not its number {rest[0]}")
    walk = list(reversed(steps)) or [(1, 1)]
    falling = sorted(walk, reverse=True)
    return Order(tuple(size for _, size in falling), tuple(falling.index(one) for one in walk), numbers.shape or (1,))
