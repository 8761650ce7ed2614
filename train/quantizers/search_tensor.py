"""Best point set and scale of weights that share one scale: branch and bound over the scale alone.

For one scale the best of all point sets is a shortest path: its error is a sum over neighbouring points. So no subset
is ever listed: intervals of the scale are divided until the chord bound (`train.quantizers.search_rows`) of every one
exceeds the best error found, or comes within the tolerance of it.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from twofold.train.quantizers.search_rows import Array, SortedRow, chord_bounds

#: Ratio of neighbouring scales at first.
FIRST_STEP = 1.06
#: Parts that an interval is divided into.
PARTS = 4


@dataclass(frozen=True)
class Optimum:
    """Point set (ascending) and scale of least error, with the proof: no error is less than `lower`."""

    points: tuple[int, ...]
    scale: float
    error: float
    lower: float


class PathSearch:
    """The best subset of `count` levels for each of many scales of a row.

    Parameters
    ----------
    levels
        Universal set, ascending.
    count
        Points of a subset.
    zero
        The least level is in every subset.
    """

    def __init__(self, levels: tuple[int, ...], count: int, *, zero: bool = False):
        self.zero = zero
        self.levels = np.array(levels, dtype=np.float64)
        self.count = min(count, len(levels))
        pairs = self.levels[:, None] + self.levels[None, :]
        self.mids, self.place = np.unique(pairs / 2, return_inverse=True)
        self.place = self.place.reshape(pairs.shape)
        self.gaps = self.levels[None, :] - self.levels[:, None]
        self.edges = [(j, self.place[:j, j], self.gaps[:j, j, None]) for j in range(len(levels))]

    def values(self, row: SortedRow, t: Array) -> tuple[Array, NDArray[np.intp]]:
        """Least g(t) over all subsets, shape (k,), and the subset, shape (k, count): indices of levels."""
        short = row.shortfall(self.mids[:, None] / t) * (-2 * t)
        size, length = len(self.levels), len(t)
        costs = [short[place] * gap for _, place, gap in self.edges]
        best = np.zeros((size, length))
        if self.zero:
            best[1:] = np.inf
        choices = np.zeros((self.count, size, length), dtype=np.intp)
        for step in range(1, self.count):
            after = np.full((size, length), np.inf)
            # Level j can be the step-th point only with enough levels on both sides of it.
            for j in range(step, size - self.count + step + 1):
                total = best[step - 1 : j] + costs[j][step - 1 :]
                pick = total.argmin(axis=0)
                choices[step, j] = pick + step - 1
                after[j] = total[pick, np.arange(length)]
            best = after
        total = best + row.last_values(t, self.levels[:, None])
        ends = np.empty((length, self.count), dtype=np.intp)
        here = total.argmin(axis=0)
        least = total[here, np.arange(length)]
        for step in range(self.count - 1, -1, -1):
            ends[:, step] = here
            here = choices[step, here, np.arange(length)]
        return least, ends


@lru_cache(maxsize=32)
def path_search(levels: tuple[int, ...], count: int, zero: bool = False) -> PathSearch:
    """`PathSearch` of a universal set, kept."""
    return PathSearch(levels, count, zero=zero)


def search_row(row: SortedRow, levels: tuple[int, ...], count: int, tolerance: float, *, zero: bool = False) -> Optimum:
    """Global optimum over subset and scale; the error is above the least possible one by at most the tolerance.

    Parameters
    ----------
    row
        Not dead.
    levels, count
        Universal set, ascending, and points of a subset.
    tolerance
        Part of the error.
    zero
        The least level is in the subset.
    """
    paths = path_search(levels, count, zero)
    first, end = row.span(paths.levels)
    steps = int(np.ceil(np.log(end / first) / np.log(FIRST_STEP))) + 1
    t = np.geomspace(first, end, steps)
    g, subsets = paths.values(row, t)
    best, scale, points = np.inf, 0.0, paths.levels[:1]
    t1, t2, g1, g2 = t[:-1], t[1:], g[:-1], g[1:]
    least = np.inf
    while True:
        n = int(np.argmin(row.errors(t, g)))
        found, at = row.fit(paths.levels[subsets[n]], 1 / t[n])
        if found < best:
            best, scale, points = found, at, paths.levels[subsets[n]]
        lower = chord_bounds(row.energy, t1, t2, g1, g2)
        enough = best - allowance(best, row.energy, tolerance)
        active = (lower < enough) & splittable(t1, t2)
        if not active.all():
            least = min(least, float(lower[~active].min()))
        if not active.any():
            return Optimum(tuple(int(p) for p in points), scale, best, min(least, best))
        ends = np.linspace(t1[active], t2[active], PARTS + 1)
        t = ends[1:-1].ravel()
        g, subsets = paths.values(row, t)
        sums = np.concatenate((g1[active][None], g.reshape(PARTS - 1, -1), g2[active][None]))
        t1, t2, g1, g2 = ends[:-1].ravel(), ends[1:].ravel(), sums[:-1].ravel(), sums[1:].ravel()


def splittable(t1: Array, t2: Array) -> NDArray[np.bool_]:
    """Whether an interval is wide enough to be divided in floating point."""
    return t2 - t1 > 1e-12 * t2


def allowance(error: float, energy: float, tolerance: float) -> float:
    """What an error may be off: a part of itself, and the rounding of sums (parts in 10**13 of the energy)."""
    return max(tolerance * error, 1e-13 * energy)
