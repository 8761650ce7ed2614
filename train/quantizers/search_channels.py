"""Best point set of weights of which each channel has a scale of its own: bounds of every subset, channel by channel.

A subset's error is a sum over channels, each with its best scale. Channel after channel, the lower bounds of all
subsets on a coarse grid of scales are added up, and a subset goes as soon as its sum, with the least that any subset
costs in the channels not yet seen, exceeds the error of a good solution. What is left is refined until it is decided.
"""

from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from twofold.train.quantizers.search_rows import Array, SortedRow, chord_bounds
from twofold.train.quantizers.search_tensor import (
    FIRST_STEP,
    PARTS,
    PathSearch,
    allowance,
    path_search,
    search_row,
    splittable,
)

#: Subsets whose bounds are computed at once.
CHUNK = 4096
#: Numbers that are kept of an interval, and of all intervals at most.
NUMBERS, MOST_NUMBERS = 5, 1 << 27
#: Rounds of improving the good solution that bounds are compared with, at most.
ROUNDS = 8


@dataclass(frozen=True, eq=False)
class ChannelOptimum:
    """Point set (ascending) and scale of each row, with the proof: no error is less than `lower`."""

    points: tuple[int, ...]
    scales: Array
    error: float
    lower: float


@lru_cache(maxsize=8)
def distinct_subsets(levels: tuple[int, ...], count: int) -> NDArray[np.intp]:
    """Subsets of that many levels, of those equal up to scale the smallest; indices, shape (subsets, count)."""
    subsets = np.array(list(combinations(range(len(levels)), min(count, len(levels)))), dtype=np.intp)
    points = np.array(levels, dtype=np.int64)[subsets]
    ratio = points // np.gcd.reduce(points, axis=1, keepdims=True)
    _, first = np.unique(ratio, axis=0, return_index=True)
    return subsets[np.sort(first)]


class ChannelSearch:
    """Rows, one a channel, and the subsets that are still to be decided.

    Parameters
    ----------
    rows
        None dead.
    levels, count
        Universal set, ascending, and points of a subset.
    tolerance
        Part of the error that the result may be off.
    zero
        The least level is in the subset.
    """

    def __init__(
        self, rows: list[SortedRow], levels: tuple[int, ...], count: int, tolerance: float, *, zero: bool = False
    ):
        self.rows, self.tolerance = rows, tolerance
        self.paths = path_search(levels, count, zero)
        self.levels = self.paths.levels
        self.subsets = distinct_subsets(levels, count)
        if zero:
            self.subsets = self.subsets[self.subsets[:, 0] == 0]
        self.energy = sum(row.energy for row in rows)
        self.grids = [scale_grid(row, self.levels) for row in rows]
        self.best, self.winner = np.inf, self.levels[:0]
        self.lower = np.inf

    def run(self) -> ChannelOptimum:
        """The global optimum."""
        self._guess()
        self._screen()
        self._decide()
        found = [best_scale(row, grid, self.winner) for row, grid in zip(self.rows, self.grids, strict=True)]
        points = tuple(int(p) for p in self.winner)
        error = sum(error for error, _ in found)
        return ChannelOptimum(points, np.array([scale for _, scale in found]), error, min(self.lower, error))

    @property
    def enough(self) -> float:
        """What a lower bound must reach."""
        return self.best - allowance(self.best, self.energy, self.tolerance)

    def _offer(self, points: Array, error: float) -> None:
        if error < self.best:
            self.best, self.winner = error, points

    def _guess(self) -> None:
        """A good solution: in turn the best subset for the scales and the best scales for the subset."""
        scales = np.array([np.sqrt(row.energy / row.counts[-1]) for row in self.rows])
        pooled = _pool(self.rows, scales)
        found = search_row(pooled, tuple(int(p) for p in self.levels), self.paths.count, 1e-3, zero=self.paths.zero)
        points = np.array(found.points, dtype=np.float64)
        for _ in range(ROUNDS):
            fits = [best_scale(row, grid, points) for row, grid in zip(self.rows, self.grids, strict=True)]
            before = self.best
            self._offer(points, sum(error for error, _ in fits))
            if self.best == before:
                break
            pooled = _pool(self.rows, np.array([scale for _, scale in fits]))
            points = self.levels[self.paths.values(pooled, np.ones(1))[1][0]]

    def _screen(self) -> None:
        """Add up the subsets' bounds and drop those that cannot win."""
        floors = np.array([_floor(self.paths, row, t) for row, t in zip(self.rows, self.grids, strict=True)])
        rest = floors.sum() - np.cumsum(floors)
        kept = []
        for start in range(0, len(self.subsets), CHUNK):
            part = self.subsets[start : start + CHUNK]
            total = np.zeros(len(part))
            for row, t, after in zip(self.rows, self.grids, rest, strict=True):
                g = self._values(row, t, part)
                total += chord_bounds(row.energy, t[:-1], t[1:], g[:, :-1], g[:, 1:]).min(axis=1)
                part, total = self._drop(part, total, total + after)
                if not len(part):
                    break
            kept.append(part)
        self.subsets = np.concatenate(kept)

    def _drop(self, subsets: NDArray[np.intp], total: Array, lower: Array) -> tuple[NDArray[np.intp], Array]:
        out = lower >= self.enough
        if out.any():
            self.lower = min(self.lower, float(lower[out].min()))
            subsets, total = subsets[~out], total[~out]
        return subsets, total

    def _values(self, row: SortedRow, t: Array, subsets: NDArray[np.intp]) -> Array:
        """g of subsets on a grid, shape (subsets, k)."""
        short = row.shortfall(self.paths.mids[:, None] / t) * (-2 * t)
        g = row.last_values(t, self.levels[subsets[:, -1]][:, None])
        for left, right in zip(subsets.T[:-1], subsets.T[1:], strict=True):
            g += short[self.paths.place[left, right]] * self.paths.gaps[left, right][:, None]
        return g

    def _decide(self) -> None:
        """Refine the intervals of what is left until every subset is decided; as many subsets at once as memory has."""
        each = NUMBERS * sum(map(len, self.grids))
        size = max(1, MOST_NUMBERS // each)
        for start in range(0, len(self.subsets), size):
            self._decide_some(self.subsets[start : start + size])

    def _decide_some(self, subsets: NDArray[np.intp]) -> None:
        points = self.levels[subsets]
        channels = []
        for row, t in zip(self.rows, self.grids, strict=True):
            channels.append(_Intervals(row, t, self._values(row, t, subsets), self.tolerance))
        alive = np.ones(len(points), dtype=bool)
        while True:
            upper = sum((c.upper for c in channels), start=np.zeros(len(points)))
            lower = sum((c.lower for c in channels), start=np.zeros(len(points)))
            best = int(np.argmin(upper))
            self._offer(points[best], float(upper[best]))
            open_ = sum((c.pending for c in channels), start=np.zeros(len(points), dtype=np.int64)) > 0
            out = alive & ((lower >= self.enough) | ~open_)
            self.lower = min(self.lower, float(lower[out].min(initial=np.inf)))
            alive &= ~out
            if not alive.any():
                return
            for channel in channels:
                channel.refine(points, alive)


class _Intervals:
    """Of one channel: for each subset the intervals of 1 / scale that may hold its optimum.

    Attributes
    ----------
    upper, lower : shape (subsets,)
        Bounds of each subset's least error in this channel.
    """

    def __init__(self, row: SortedRow, t: Array, g: Array, tolerance: float):
        self.row, self.tolerance = row, tolerance
        self.upper = row.errors(t, g).min(axis=1)
        subset, place = np.indices((len(g), len(t) - 1)).reshape(2, -1)
        self.done = np.full(len(g), np.inf)
        self._keep(subset, t[place], t[place + 1], g[subset, place], g[subset, place + 1])

    def _keep(self, subset: NDArray[np.intp], t1: Array, t2: Array, g1: Array, g2: Array) -> None:
        bound = chord_bounds(self.row.energy, t1, t2, g1, g2)
        upper = self.upper[subset]
        enough = upper - np.maximum(self.tolerance * upper, 1e-13 * self.row.energy)
        active = (bound < enough) & splittable(t1, t2)
        np.minimum.at(self.done, subset[~active], bound[~active])
        self.lower = self.done.copy()
        np.minimum.at(self.lower, subset[active], bound[active])
        self.subset, self.t1, self.t2, self.g1, self.g2 = (x[active] for x in (subset, t1, t2, g1, g2))

    @property
    def pending(self) -> NDArray[np.int64]:
        """Intervals of each subset that may still be divided."""
        return np.bincount(self.subset, minlength=len(self.upper))

    def refine(self, points: Array, alive: NDArray[np.bool_]) -> None:
        """Divide the intervals of the subsets that are alive; the others' are forgotten."""
        here = alive[self.subset]
        subset, t1, t2, g1, g2 = (x[here] for x in (self.subset, self.t1, self.t2, self.g1, self.g2))
        ends = np.linspace(t1, t2, PARTS + 1)
        t, inner = ends[1:-1].ravel(), np.tile(subset, PARTS - 1)
        g = self.row.values(t, points[inner])
        np.minimum.at(self.upper, inner, self.row.errors(t, g))
        sums = np.concatenate((g1[None], g.reshape(PARTS - 1, -1), g2[None]))
        self._keep(np.tile(subset, PARTS), ends[:-1].ravel(), ends[1:].ravel(), sums[:-1].ravel(), sums[1:].ravel())


def scale_grid(row: SortedRow, levels: Array) -> Array:
    """Values of 1 / scale, ascending, that no optimum lies outside of, whichever of `levels` a point set holds."""
    first, end = row.span(levels)
    return np.geomspace(first, end, int(np.ceil(np.log(end / first) / np.log(FIRST_STEP))) + 1)


def _floor(paths: PathSearch, row: SortedRow, t: Array) -> float:
    """Lower bound of the channel's error over all subsets."""
    g, _ = paths.values(row, t)
    return float(chord_bounds(row.energy, t[:-1], t[1:], g[:-1], g[1:]).min())


def _pool(rows: list[SortedRow], scales: Array) -> SortedRow:
    """All rows in units of their scales, each weighted with its scale's square."""
    weights = np.concatenate([row.ordered / scale for row, scale in zip(rows, scales, strict=True)])
    importance = np.concatenate([np.diff(row.counts) * scale**2 for row, scale in zip(rows, scales, strict=True)])
    return SortedRow.of(weights, importance)


def best_scale(row: SortedRow, t: Array, points: Array) -> tuple[float, float]:
    """(error, scale) of one subset for one row: intervals that may hold the optimum are refined to the last digit."""
    g = row.values(t, np.broadcast_to(points, (len(t), len(points))))
    tasks = _Intervals(row, t, g[None], 0.0)
    best = row.fit(points, float(1 / t[np.argmin(row.errors(t, g))]))
    while len(tasks.subset):
        tasks.upper[0] = min(tasks.upper[0], best[0])
        tasks.refine(points[None], np.ones(1, dtype=bool))
        if len(tasks.t1):
            middle = np.argmin(chord_bounds(row.energy, tasks.t1, tasks.t2, tasks.g1, tasks.g2))
            best = min(best, row.fit(points, float(1 / tasks.t1[middle])), row.fit(points, float(1 / tasks.t2[middle])))
    return best
