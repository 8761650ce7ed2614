"""Scales of least squared error: the minimum over all scales, not over a grid of them.

Between two scales at which a weight is rounded to another level the error is a quadratic of the scale, whose least
value is known. So all these intervals are looked at, one after the other in sorted order; or, where they are many and
each weight goes to its nearest level, only those that bounds leave over (`train.quantizers.search_rows`).
"""

from collections.abc import Callable
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from twofold.train.quantizers.base import LEAST_SCALE
from twofold.train.quantizers.search_channels import best_scale, scale_grid
from twofold.train.quantizers.search_rows import Array, SortedRow

#: Intervals of a row that are looked at one by one although bounds would do.
MANY = 20000
#: Parts into which a range of scales is divided, and how often, to leave out what cannot have the best one.
PARTS, ROUNDS = 256, 4
#: The smallest number whose level is looked at (LSBs).
LEAST = 2.0**-40
#: Part of a scale by which the rounding of its digits may move it.
MARGIN = 1e-6


@torch.no_grad()
def l2_scales(weight: Tensor, integers: Callable[[Tensor], Tensor], top: float, *, by_channel: bool = True) -> Tensor:
    """Scales that minimise ``sum((w - scale * integers(w / scale))**2)``, one an output channel.

    A channel of zeros, and one whose scale would be less than `LEAST_SCALE` of the largest, has that.

    Parameters
    ----------
    weight : shape (M, ...)
        Weights.
    integers
        The quantizer in LSBs: of each number by itself, never falling, of as many levels as are tried one by one.
    top
        Largest level (LSBs).
    by_channel
        Otherwise one scale for all channels.

    Returns
    -------
    shape (M,)
    """
    channels = len(weight)
    flat = weight.detach().double().reshape(channels if by_channel else 1, -1).cpu().numpy()
    above = Steps(integers, top)
    below = above.mirrored(integers)
    zeros = bool(integers(torch.zeros(1, dtype=torch.float64)).any())
    found = torch.tensor([_row_scale(row, above, below, zeros=zeros) for row in flat], dtype=torch.float64)
    return usable(found).expand(channels).to(weight).clone()


def usable(scales: Tensor) -> Tensor:
    """The scales, none below `LEAST_SCALE` of the largest; 1 where all are 0."""
    largest = float(scales.max()) or 1.0
    return scales.clamp(min=largest * LEAST_SCALE) if bool(scales.any()) else torch.ones_like(scales)


class Steps:
    """The levels of a rounding of numbers above 0, and where each begins.

    Attributes
    ----------
    levels : shape (K,)
        Ascending.
    begins : shape (K - 1,)
        The smallest numbers that are rounded to the second level, the third, and so on.
    """

    def __init__(self, rounded: Callable[[Tensor], Tensor], top: float):
        def of(x: Array) -> Array:
            return rounded(torch.from_numpy(x)).double().numpy()

        self.top = top
        # Columns: two numbers whose levels differ, until they are neighbours, and their levels.
        ends = np.array([[LEAST], [4.0 * (top + 1)]])
        between = np.concatenate((ends, of(ends)))
        found = [ends[1, :0]]
        while between.size:
            low, high, under, over = between
            middle = (low + high) / 2
            done = (middle <= low) | (middle >= high)
            found.append(high[done & (under != over)])
            low, high, under, over = between[:, ~done]
            middle = middle[~done]
            level = of(middle)
            halves = ((low, middle, under, level), (middle, high, level, over))
            between = np.concatenate([np.array(half) for half in halves], axis=1)
            between = between[:, between[2] != between[3]]
        self.begins = np.sort(np.concatenate(found))
        self.levels = of(np.concatenate((ends[0], self.begins)))

    def mirrored(self, rounded: Callable[[Tensor], Tensor]) -> "Steps":
        """The levels of the numbers below 0, made positive: the same ones, if they are where each begins and ends."""
        ends = np.concatenate(([LEAST, 4.0 * (self.top + 1)], self.begins, np.nextafter(self.begins, 0)))
        x = torch.from_numpy(ends)
        return self if torch.equal(rounded(x), -rounded(-x)) else Steps(lambda x: -rounded(-x), self.top)

    def like(self, other: "Steps") -> bool:
        """Whether it is the same rounding."""
        return np.array_equal(self.begins, other.begins) and np.array_equal(self.levels, other.levels)

    @cached_property
    def nearest(self) -> bool:
        """Whether every number goes to its nearest level."""
        return np.allclose(self.begins, (self.levels[1:] + self.levels[:-1]) / 2, rtol=1e-12, atol=0)


def _row_scale(row: Array, above: Steps, below: Steps, *, zeros: bool) -> float:
    """Scale of a row, 0 where all weights are 0; `zeros`: a weight of 0 is rounded to another level."""
    if not row.any():
        return 0.0
    kept = row if zeros else row[row != 0]
    few = len(kept) * len(above.begins) <= MANY
    if above.nearest and above.like(below) and not few:
        sizes = SortedRow.of(kept)
        return best_scale(sizes, scale_grid(sizes, above.levels), above.levels)[1]
    if above.like(below):
        sides = [_Side(np.abs(kept), above)]
    else:
        sides = [_Side(kept[kept >= 0], above), _Side(-kept[kept < 0], below)]
    return _by_intervals(sides, 0.0, np.inf) if few else _by_intervals(sides, *_window(sides))


class _Side:
    """Magnitudes of one sign, ascending, and how they are rounded."""

    def __init__(self, sizes: Array, steps: Steps):
        self.sizes, self.steps = np.sort(sizes), steps
        self.sums = np.concatenate(([0.0], np.cumsum(self.sizes)))
        self.rise, self.growth = np.diff(steps.levels), np.diff(steps.levels**2)

    def totals(self, scale: Array) -> tuple[Array, Array]:
        """``sum(w * q)`` and ``sum(q**2)`` at each scale."""
        place = np.searchsorted(self.sizes, scale[:, None] * self.steps.begins)
        top = self.steps.levels[-1]
        return top * self.sums[-1] - self.sums[place] @ self.rise, len(self.sizes) * top**2 - place @ self.growth

    def changes(self, low: float, high: float) -> tuple[Array, Array, Array]:
        """Scales between at which a weight changes its level, and by how much both totals fall there."""
        first = np.searchsorted(self.sizes, low * self.steps.begins)
        counts = np.searchsorted(self.sizes, high * self.steps.begins) - first
        # For each level the weights between, one after the other.
        part = self.sizes[np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts - first, counts)]
        begins, rise, growth = (np.repeat(x, counts) for x in (self.steps.begins, self.rise, self.growth))
        return part / begins, part * rise, growth


def _window(sides: list[_Side]) -> tuple[float, float]:
    """Scales that the best one lies between: both totals fall as the scale rises, which bounds the error."""
    low = min(float(side.sizes[side.sizes > 0][0] / side.steps.begins[-1]) for side in sides if side.sums[-1])
    high = max(float(side.sizes[-1] / side.steps.begins[0]) for side in sides if side.sums[-1])
    for _ in range(ROUNDS):
        scale = np.geomspace(low / (1 + MARGIN), high * (1 + MARGIN), PARTS + 1)
        a, b = (sum(total) for total in zip(*(side.totals(scale) for side in sides), strict=True))
        least = scale * (scale * b - 2 * a)
        inside = np.clip(a[:-1] / np.maximum(b[1:], 1e-12), scale[:-1], scale[1:])
        kept = np.flatnonzero(inside * (inside * b[1:] - 2 * a[:-1]) <= least.min())
        low, high = float(scale[kept[0]]), float(scale[kept[-1] + 1])
    return low, high


def _by_intervals(sides: list[_Side], least: float, most: float) -> float:
    """Scale between bounds: the least value of the error in every interval."""
    ends, linear, square = (np.concatenate(x) for x in zip(*(s.changes(least, most) for s in sides), strict=True))
    order = np.argsort(ends)
    ends = ends[order]
    a, b = (sum(total) for total in zip(*(side.totals(np.full(1, least)) for side in sides), strict=True))
    a = a - np.concatenate(([0.0], np.cumsum(linear[order])))
    b = b - np.concatenate(([0.0], np.cumsum(square[order])))
    low = np.concatenate(([least], ends))
    high = np.concatenate((ends, [most if np.isfinite(most) else 2 * ends[-1]]))
    # Within the interval, so that a scale that is rounded to fewer digits stays there.
    inner = np.minimum((high - low) / 4, MARGIN * high)
    scale = np.clip(a / np.maximum(b, 1e-12), low + inner, high - inner)
    error = np.where(low < high, scale * (scale * b - 2 * a), np.inf)
    return float(scale[np.argmin(error)])
