"""Search for the point set of a layer: every subset of the universal set, each with its own best scales (paper 003).

For one scale a, the squared error of a subset p_0 < p_1 < ... is ``sum(w^2) - 2 a B + a^2 C`` with ``B = sum(|w| p)``,
``C = sum(p^2)`` over the weights' nearest points. Both are sums over neighbouring points of the subset:
``B = p_last * sum(|w|) - sum((p_j - p_i) * S(a * (p_i + p_j) / 2))``, S(t) being the sum of the magnitudes up to t,
and C likewise with counts and squares. So prefix sums at every pair's threshold, a table of pairs by scales, give all
subsets by one matrix product. With its assignment held, a subset's best scale is B / C, and its error
``sum(w^2) - B^2 / C``.
"""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from golden.formats import WeightFormat

#: Ratio of neighbouring candidate scales.
GRID_STEP = 1.03
#: Subsets that get exact alternating refinement of their scales.
FINALISTS = 16


@dataclass(frozen=True, eq=False)
class PointSearch:
    """Result of a search.

    Parameters
    ----------
    levels
        Points of the best subset (LSBs), ascending.
    scales : float64, shape (M,), or (1,) for one scale a tensor
        Real value of one LSB; 0 for weights that are all 0.
    error
        Sum of squared differences.
    """

    levels: tuple[int, ...]
    scales: NDArray[np.float64]
    error: float


def search_points(weights: NDArray[np.floating], fmt: WeightFormat, *, by_channel: bool = True) -> PointSearch:
    """Best ``fmt.points`` levels out of `fmt`'s universal set, with least-squares scales.

    Parameters
    ----------
    weights : shape (M, ...)
        Weights of a layer, one output channel a row.
    fmt
        Universal set and number of points.
    by_channel
        One scale an output channel, and one subset for all; otherwise one scale.

    Notes
    -----
    The candidates of a scale are a geometric grid of `GRID_STEP`, each followed by one least-squares step; the
    `FINALISTS` best subsets are then refined until nothing moves.

    Source: paper 003, FindBestQPS.
    """
    flat = np.abs(np.asarray(weights, dtype=np.float64)).reshape(len(weights) if by_channel else 1, -1)
    rows = [_Row(row) for row in flat]
    levels = np.array(fmt.universal_set, dtype=np.float64)
    subsets = np.array(list(combinations(range(len(levels)), min(fmt.points, len(levels)))))
    pairs = list(combinations(range(len(levels)), 2))
    number = {pair: n for n, pair in enumerate(pairs)}
    has = np.zeros((len(subsets), len(pairs)))
    for left, right in zip(subsets.T[:-1], subsets.T[1:], strict=True):
        has[np.arange(len(subsets)), [number[pair] for pair in zip(left, right, strict=True)]] = 1
    low, high = levels[[i for i, _ in pairs]], levels[[j for _, j in pairs]]
    last = levels[subsets[:, -1]]

    total = np.zeros(len(subsets))
    for row in rows:
        total += row.least_errors(has, low, high, last)
    finalists = [_refine(rows, levels[subsets[n]]) for n in np.argsort(total, kind="stable")[:FINALISTS]]
    points, scales, error = min(finalists, key=lambda found: found[2])
    padded = tuple(int(p) for p in points) + (int(points[-1]),) * (fmt.points - len(points))
    return PointSearch(padded, scales, error)


def _grid(largest: float, low: float, high: float) -> NDArray[np.float64]:
    """Scales from a heavily clipped subset of the largest points to an unclipped one of the smallest."""
    first, end = 0.2 * largest / high, 1.2 * largest / low
    return np.float64(first) * GRID_STEP ** np.arange(int(np.ceil(np.log(end / first) / np.log(GRID_STEP))) + 1)


class _Row:
    """Magnitudes that share a scale, sorted, with their prefix sums."""

    def __init__(self, values: NDArray[np.float64]):
        self.ordered = np.sort(values)
        self.sums = np.concatenate(([0.0], np.cumsum(self.ordered)))
        self.energy = float(values @ values)
        self.largest = float(self.ordered[-1])

    def least_errors(
        self,
        has: NDArray[np.float64],
        low: NDArray[np.float64],
        high: NDArray[np.float64],
        last: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        """Least error on the grid, shape (subsets,); `has` says which pairs (low, high) are neighbours in a subset."""
        if self.energy == 0:
            return np.zeros(len(has))
        scales = _grid(self.largest, float(last[last > 0].min()), float(last.max()))
        place = np.searchsorted(self.ordered, np.outer((low + high) / 2, scales), side="right")
        linear = last[:, None] * self.sums[-1] - has @ ((high - low)[:, None] * self.sums[place])
        square = last[:, None] ** 2 * len(self.ordered) - has @ ((high**2 - low**2)[:, None] * place)
        gain = np.divide(linear**2, square, out=np.zeros_like(linear), where=square > 0)
        return self.energy - gain.max(axis=1)

    def best_scale(self, points: NDArray[np.float64]) -> tuple[float, float]:
        """(error, scale) of one subset: assign and fit from every scale of the grid until nothing moves."""
        if self.energy == 0:
            return 0.0, 0.0
        step, step2 = np.diff(points)[:, None], np.diff(points**2)[:, None]
        mids = ((points[1:] + points[:-1]) / 2)[:, None]
        scales = _grid(self.largest, float(points[-1]), float(points[-1]))
        for _ in range(200):
            place = np.searchsorted(self.ordered, mids * scales, side="right")
            linear = points[-1] * self.sums[-1] - (step * self.sums[place]).sum(axis=0)
            square = points[-1] ** 2 * len(self.ordered) - (step2 * place).sum(axis=0)
            new = np.divide(linear, square, out=scales.copy(), where=square > 0)
            if (new == scales).all():
                break
            scales = new
        errors = self.energy - 2 * scales * linear + scales**2 * square
        best = int(np.argmin(errors))
        return float(errors[best]), float(scales[best])


def _refine(rows: list[_Row], points: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """(points, scale of each row, error). A row of zeros gets scale 0: the caller bounds scales from below."""
    found = [row.best_scale(points) for row in rows]
    return points, np.array([scale for _, scale in found]), sum(error for error, _ in found)
