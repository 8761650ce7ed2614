"""Which weights share a word count: elements, filters or the array's tiles [STLQ]."""

from fractions import Fraction

import torch
from torch import Tensor

#: Granularities by name.
UNITS = ("element", "filter", "tile")


class UnitGrid:
    """The units of a weight tensor.

    Parameters
    ----------
    shape
        (M, N, Kh, Kw) of the weights.
    unit
        ``element``, ``filter`` (an output channel) or ``tile``.
    tile
        (Tm, Tn): output and input lanes of the array. A tile is 1x1 spatially; edge tiles may be ragged.

    Attributes
    ----------
    grid
        Shape of a tensor with one entry a unit.
    index : int64, shape (M, N, Kh, Kw)
        Unit of each weight, numbered in raster order of the grid.
    counts : float32, shape `grid`
        Weights in each unit.
    """

    def __init__(self, shape: tuple[int, ...], unit: str, tile: tuple[int, int]):
        if unit not in UNITS:
            raise ValueError(f"Unit must be one of {UNITS}, not {unit!r}")
        if len(tile) != 2 or any(not isinstance(side, int) or side < 1 for side in tile):
            raise ValueError(f"Tile must be two numbers, each at least 1, not {tile!r}")
        block = {"element": (1, 1, 1, 1), "filter": (1, *shape[1:]), "tile": (*tile, 1, 1)}[unit]
        self.grid = tuple(-(-size // side) for size, side in zip(shape, block, strict=True))
        index = torch.zeros(1, dtype=torch.int64)
        for size, side, units in zip(shape, block, self.grid, strict=True):
            index = index.unsqueeze(-1) * units + torch.arange(size) // side
        self.index = index[0]
        self.counts = self.total(torch.ones(shape))

    def total(self, values: Tensor) -> Tensor:
        """Sum over each unit's weights."""
        out = values.new_zeros(self.size)
        return out.index_add(0, self.index.flatten(), values.flatten()).reshape(self.grid)

    def spread(self, values: Tensor) -> Tensor:
        """Value of its unit for each weight."""
        return values.flatten()[self.index]

    @property
    def size(self) -> int:
        """Number of units."""
        return int(torch.tensor(self.grid).prod())


def select(scores: Tensor, ratio: float) -> Tensor:
    """The ``round-half-up(ratio * units)`` units of highest score, ties by lower index; bool, shape of `scores`."""
    if not 0 <= ratio <= 1:
        raise ValueError(f"Two-word ratio must be 0 to 1, not {ratio!r}")
    count = int(Fraction(str(ratio)) * scores.numel() + Fraction(1, 2))
    order = torch.sort(scores.flatten(), descending=True, stable=True).indices
    chosen = torch.zeros(scores.numel(), dtype=torch.bool)
    chosen[order[:count]] = True
    return chosen.reshape(scores.shape)


def auxiliary(scores: Tensor, chosen: Tensor) -> Tensor:
    """Start of v: softmax of the scores of units not chosen, divided by its largest; 0 where chosen.

    Source: [STLQ], ``fs(|r1 o (1 - C)|)``; softmax over its own maximum is ``exp(score - max(score))``.
    """
    rest = torch.where(chosen, torch.full_like(scores, -torch.inf), scores)
    return torch.exp(rest - rest.max()) if not bool(chosen.all()) else torch.zeros_like(scores)
