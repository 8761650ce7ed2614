"""Search for the point set of a layer [SubsetQ]: the global optimum over subsets of the universal set and scales.

The objective is ``sum(h * (|w| - scale * nearest point)**2)``. The paper's procedure tries every subset and, from one
start, improves its scale until it stands still, which finds some local optimum of each. Here intervals of the scale are
bounded and refined instead (`train.quantizers.search_rows` has the bound), so the result comes with a proof.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twofold.golden.formats import WeightFormat
from twofold.train.quantizers.search_channels import ChannelSearch
from twofold.train.quantizers.search_rows import Array, SortedRow
from twofold.train.quantizers.search_tensor import search_row

#: What the error may be above the least possible one, as a part of it.
TOLERANCE = 1e-9


@dataclass(frozen=True, eq=False)
class PointSearch:
    """Result of a search.

    Parameters
    ----------
    levels
        Points of the best subset (LSBs), ascending; of those equal up to scale the smallest.
    scales : float64, shape (M,), or (1,) for one scale a tensor
        Real value of one LSB; 0 for weights that are all 0, or do not count.
    error
        Weighted sum of squared differences.
    lower
        Proven: no subset and no scales have an error below this. At least ``error * (1 - tolerance)``, but for the
        rounding of sums, 10**-13 of ``sum(h * w**2)``.
    """

    levels: tuple[int, ...]
    scales: Array
    error: float
    lower: float


def search_points(
    weights: NDArray[np.floating],
    fmt: WeightFormat,
    *,
    by_channel: bool = True,
    importance: NDArray[np.floating] | None = None,
    tolerance: float = TOLERANCE,
    zero: bool = False,
) -> PointSearch:
    """Best ``fmt.point_count`` levels out of `fmt`'s universal set, with the best scales.

    Parameters
    ----------
    weights : shape (M, ...)
        Weights of a layer, one output channel a row.
    fmt
        Universal set and number of points.
    by_channel
        One scale an output channel, and one subset for all; otherwise one scale.
    importance : broadcastable to the weights' shape
        h of each weight, at least 0 (such as its input's second moment); 1 where left out.
    tolerance
        What the error may be above the least possible one, as a part of it.
    zero
        Only subsets with level 0.

    Raises
    ------
    ValueError
        If the weights are empty or not finite, the importance is negative or of another shape, the tolerance is not
        between 0 and 1, no level is above 0, or the
        set lacks the zero that the subset must have.
    """
    flat, h = _checked(weights, importance)
    if not 0 <= tolerance < 1:
        raise ValueError(f"Tolerance must be 0 to below 1, not {tolerance!r}")
    levels, count = fmt.universal_set, min(fmt.point_count, len(fmt.universal_set))
    if levels[-1] <= 0:
        raise ValueError(f"Universal set must have a level above 0, not {levels!r}")
    if zero and levels[0]:
        raise ValueError(f"Universal set must have 0 where all weights of a filter are 0, not {levels!r}")
    unit = np.ldexp(1.0, int(np.frexp(np.abs(flat).max())[1]))  # a power of two: nothing is rounded
    flat /= unit
    if not by_channel:
        flat, h = flat.reshape(1, -1), None if h is None else h.reshape(1, -1)
    rows = [SortedRow.of(row, None if h is None else h[n]) for n, row in enumerate(flat)]
    exact = [n for n, row in enumerate(rows) if not row.dead and row.equal]
    live = [n for n, row in enumerate(rows) if not row.dead and not row.equal]
    scales = np.zeros(len(rows))
    if not live:
        points, lower = levels[:count] if zero else levels[-count:], 0.0
    elif len(live) == 1:
        one = search_row(rows[live[0]], levels, count, tolerance, zero=zero)
        points, lower = one.points, one.lower
        scales[live] = one.scale
    else:
        many = ChannelSearch([rows[n] for n in live], levels, count, tolerance, zero=zero).run()
        points, lower = many.points, many.lower
        scales[live] = many.scales
    scales[exact] = [rows[n].ordered[-1] / points[-1] for n in exact]
    points, factor = smallest(points, levels)
    scales *= factor
    error = objective(flat, points, scales, h)
    padded = points + (points[-1],) * (fmt.point_count - count)
    return PointSearch(padded, scales * unit, error * unit**2, min(lower, error) * unit**2)


def objective(weights: Array, points: tuple[int, ...], scales: Array, importance: Array | None = None) -> float:
    """``sum(h * (|w| - scale * nearest point)**2)``, by the definition.

    Parameters
    ----------
    weights : shape (M, n)
        One scale a row.
    points
        Ascending.
    scales : shape (M,)
        Real value of one LSB.
    importance : shape (M, n)
        h; 1 where left out.
    """
    levels = np.array(points, dtype=np.float64)
    size, scale = np.abs(weights), scales[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        x = np.where(scale > 0, size / scale, 0.0)
    gaps = size - scale * levels[np.searchsorted((levels[1:] + levels[:-1]) / 2, x)]
    return float((gaps**2).sum() if importance is None else (importance * gaps**2).sum())


def smallest(points: tuple[int, ...], levels: tuple[int, ...]) -> tuple[tuple[int, ...], float]:
    """The smallest subset of `levels` that equals these points up to scale, and what its scale is multiplied by."""
    unit = int(np.gcd.reduce(points))
    shape = tuple(point // unit for point in points)
    for factor in range(1, unit):
        if all(factor * point in levels for point in shape):
            return tuple(factor * point for point in shape), unit / factor
    return points, 1.0


def _checked(weights: NDArray[np.floating], importance: NDArray[np.floating] | None) -> tuple[Array, Array | None]:
    array = np.array(weights, dtype=np.float64)
    if array.ndim < 2 or not array.size:
        raise ValueError(f"Weights must be of shape (M, ...) and not empty, not {array.shape!r}")
    if not np.isfinite(array).all():
        raise ValueError(f"Weights must be finite, not {float(array[~np.isfinite(array)][0])!r}")
    flat = np.ascontiguousarray(array.reshape(len(array), -1))
    if importance is None:
        return flat, None
    try:
        h = np.broadcast_to(np.asarray(importance, dtype=np.float64), array.shape).reshape(flat.shape)
    except ValueError:
        raise ValueError(
            f"Importance must be broadcastable to {array.shape!r}, not of shape {np.shape(importance)!r}"
        ) from None
    if not (np.isfinite(h).all() and (h >= 0).all()):
        raise ValueError(f"Importance must be finite and at least 0, not {float(h[~(np.isfinite(h) & (h >= 0))][0])!r}")
    return flat, h
