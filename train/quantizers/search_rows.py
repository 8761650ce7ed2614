"""Magnitudes that share a scale, as sums up to a threshold: what the exact search evaluates and bounds.

With t = 1 / scale the error of a point set P is ``energy + g(t) / t**2``, where ``g(t) = sum(h * min over p in P of
(p**2 - 2 p t |w|))`` is a sum of minima of linear functions. So it is concave in t, as is its minimum over any family
of point sets, and between two values of t it lies above its chord. A chord divided by t**2 is a quadratic of the
scale: its minimum is a lower bound of the error on the whole interval, off by the square of its width.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
#: Ratio of neighbouring magnitudes from which the range of scales is not taken from the lower one.
FAR = 1e3


@dataclass(frozen=True, eq=False)
class SortedRow:
    """Magnitudes that share a scale, ascending, with running sums.

    Parameters
    ----------
    ordered : shape (n,)
        Magnitudes, ascending.
    counts, sums : shape (n + 1,)
        Sum of h, and of h |w|, over the first magnitudes.
    energy
        ``sum(h * w**2)``.
    """

    ordered: Array
    counts: Array
    sums: Array
    energy: float

    @classmethod
    def of(cls, weights: Array, importance: Array | None = None) -> "SortedRow":
        """Row of these weights; `importance` is h, at least 0, and 1 where it is left out."""
        size = np.abs(weights)
        if importance is None:
            size.sort()
            counts = np.arange(len(size) + 1, dtype=np.float64)
            parts = size
        else:
            # What does not count must not widen the range of scales that are looked at.
            size, importance = size[importance > 0], importance[importance > 0]
            order = np.argsort(size, kind="stable")
            size, h = size[order], importance[order]
            counts = np.concatenate(([0.0], np.cumsum(h)))
            parts = h * size
        sums = np.empty(len(size) + 1)
        sums[0] = 0
        np.cumsum(parts, out=sums[1:])
        return cls(size, counts, sums, float(parts @ size))

    @property
    def dead(self) -> bool:
        """Whether scale 0 is exact: no weight that counts differs from 0."""
        return self.energy == 0

    @property
    def equal(self) -> bool:
        """Whether all weights that count have one magnitude: every point set with a point above 0 is exact."""
        return bool(self.ordered[0] == self.ordered[-1])

    def shortfall(self, thresholds: Array) -> Array:
        """``sum(h * (threshold - |w|))`` over the magnitudes up to each threshold."""
        place = np.searchsorted(self.ordered, thresholds, side="right")
        return thresholds * self.counts[place] - self.sums[place]

    def span(self, levels: Array) -> tuple[float, float]:
        """Bounds of 1 / scale that no optimum leaves, whichever of `levels` (with one above 0) a point set holds.

        A scale whose points above 0 all exceed the largest magnitude only gains by shrinking. And a scale so small
        that clipping alone costs more than one point for all, at its best scale, is no optimum of a set with a point
        above 0.
        """
        lone = self.energy - self.sums[-1] ** 2 / self.counts[-1]
        above = self.sums[-1] - self.sums[1:], self.counts[-1] - self.counts[1:]
        energy = self.energy - np.cumsum(np.diff(self.sums) * self.ordered)
        clipped = energy - 2 * self.ordered * above[0] + self.ordered**2 * above[1]
        enough = np.flatnonzero((clipped >= lone + 1e-9 * self.energy) & (self.ordered > 0))
        positive = self.ordered[self.ordered > 0]
        least = self._clipped_least(int(enough[-1]), above, energy, lone) if len(enough) else float(positive[0])
        return float(levels[levels > 0][0]) / float(self.ordered[-1]), float(levels[-1]) / least

    def _clipped_least(self, n: int, above: tuple[Array, Array], energy: Array, lone: float) -> float:
        """The n-th magnitude; where the next is far above, what clipping to costs as much as one point for all."""
        least, after = float(self.ordered[n]), float(self.ordered[n + 1])
        if after <= FAR * least:
            return least
        linear, count = float(above[0][n]), float(above[1][n])
        root = np.sqrt(max(0.0, linear**2 - count * (float(energy[n]) - lone - 1e-9 * self.energy)))
        return min(max(least, (linear - root) / count), after)

    def last_values(self, t: Array, last: Array) -> Array:
        """g(t) of a point set that is one point, for each t and point (broadcast)."""
        return last**2 * self.counts[-1] - 2 * last * t * self.sums[-1]

    def values(self, t: Array, points: Array) -> Array:
        """g(t) of point sets; t of shape (k,), points (k, N), ascending along N."""
        low, high = points[:, :-1], points[:, 1:]
        short = self.shortfall((low + high) / (2 * t[:, None]))
        return self.last_values(t, points[:, -1]) - 2 * t * ((high - low) * short).sum(axis=1)

    def errors(self, t: Array, g: Array) -> Array:
        """Error at 1 / scale = t, where g(t) is `g`."""
        return self.energy + g / t**2

    def fit(self, points: Array, scale: float) -> tuple[float, float]:
        """(error, scale) of one point set: assign and fit by least squares from a scale on until nothing moves."""
        mids, step, step2 = (points[1:] + points[:-1]) / 2, np.diff(points), np.diff(points**2)
        for _ in range(1000):
            place = np.searchsorted(self.ordered, mids * scale, side="right")
            linear = points[-1] * self.sums[-1] - step @ self.sums[place]
            square = points[-1] ** 2 * self.counts[-1] - step2 @ self.counts[place]
            if square <= 0 or linear <= 0 or linear / square == scale:
                break
            scale = float(linear / square)
        return self.energy - 2 * scale * float(linear) + scale**2 * float(square), scale


def chord_bounds(energy: float, t1: Array, t2: Array, g1: Array, g2: Array) -> Array:
    """Lower bound of the error for 1 / scale from t1 to t2, where g is `g1` and `g2` at the ends."""
    slope = (g2 - g1) / (t2 - t1)
    square = g1 - slope * t1
    low, high = 1 / t2, 1 / t1
    with np.errstate(divide="ignore", invalid="ignore"):
        bottom = np.where(square > 0, np.clip(-slope / (2 * square), low, high), high)
    inside = square * bottom**2 + slope * bottom
    # Rounding may give less than nothing, the more the narrower the interval: where points are exact, without an end.
    return np.maximum(energy + np.minimum(inside, np.minimum(g1 / t1**2, g2 / t2**2)), 0.0)
