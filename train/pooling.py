"""Poolings as branches: a maximum's windows, and averages whose windows have different divisors, exactly.

Windows that are alike make a region of the output. Every region's sums are multiplied with what its divisor lacks to
the least common multiple of all, a small integer, so that one multiplier requantises all of them and each average is
rounded once. A last layer of identity branches puts the regions together, each within a padding that fills the map.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from twofold.golden.catalog import digit_points
from twofold.golden.config import ArrayConfig
from twofold.golden.digit_words import digit_codes
from twofold.golden.network import Branch, Pair
from twofold.golden.parts import Part
from twofold.train.pool_layers import AverageLayer
from twofold.train.resize import BilinearLayer
from twofold.train.windows import WindowRun, around


def window_branch(
    config: ArrayConfig, source: str, points: str, channels: int, kernel: Pair, weight: int = 1
) -> Branch:
    """Depthwise branch whose weights are all one integer, times ``1 << fmt.digit_shift``.

    Raises
    ------
    ValueError
        If a word of the weight needs a shift that the build has not.
    """
    branch = _weighted(config, source, points, channels, np.full(kernel, weight, dtype=np.int64))
    if branch.shifts[-1] > config.max_pass_shift:
        raise ValueError(
            f"max_pass_shift must be at least {branch.shifts[-1]} for a sum times {weight}, "
            f"which the window's divisor lacks to the others, not {config.max_pass_shift!r}"
        )
    return branch


def _weighted(config: ArrayConfig, source: str, points: str, channels: int, weights: NDArray[np.int64]) -> Branch:
    """Depthwise branch with these weights, shape (Kh, Kw), times ``1 << fmt.digit_shift`` for every channel."""
    digits = digit_points(config.fmt)
    codes, shifts = digit_codes(np.tile(weights, (channels, 1, 1, 1)), digits)
    used = [n for n in range(len(shifts)) if (codes[n] != digits.encode(0)).any()]
    kept, shifts = np.ascontiguousarray(codes[used]), tuple(shifts[n] for n in used)
    return Branch(source, points, kept, shifts, groups=channels)


def average_branches(config: ArrayConfig, layer: AverageLayer, size: Pair, points: str) -> Iterator[tuple[str, Branch]]:
    """A name and the sums of each region, in the order of `mosaic_branches`.

    Parameters
    ----------
    size
        (height, width) of the source.
    """
    for number, row in enumerate(layer.rows):
        for other, column in enumerate(layer.columns):
            weight = layer.divisor // (row.divisor * column.divisor)
            branch = window_branch(config, layer.source, points, layer.shape[0], (row.size, column.size), weight)
            branch = replace(branch, channels=layer.read.channels)
            begin, stride = (-row.start, -column.start), (row.step, column.step)
            padding = around(size, begin, (row.count, column.count), branch.kernel, stride)
            yield f"[{number},{other}]", replace(branch, stride=stride, padding=padding)


def between_branches(
    config: ArrayConfig, layer: BilinearLayer, size: Pair, points: str
) -> Iterator[tuple[Part, Branch]]:
    """Parts of the output, and of each the sum that it is; the source has that size (height, width).

    Raises
    ------
    ValueError
        If a word of a weight needs a shift that the build has not.
    """
    for number, (part, row, column) in enumerate(layer.parts()):
        weights = np.outer(row.weights, column.weights)
        begin, stride = (-row.start, -column.start), (row.stride, column.stride)
        padding = around(size, begin, part.size, weights.shape, stride)
        branch = _weighted(config, layer.source, points, layer.shape[0], weights)
        if branch.shifts[-1] > config.max_pass_shift:
            raise ValueError(
                f"max_pass_shift must be at least {branch.shifts[-1]} for a weight of {int(weights.max())} "
                f"{layer.divisor}ths, not {config.max_pass_shift!r}"
            )
        branch = replace(branch, channel=number * layer.shape[0], channels=layer.read.channels)
        yield part, replace(branch, stride=stride, padding=padding)


def mosaic_branches(config: ArrayConfig, layer: AverageLayer, names: Sequence[str], points: str) -> Iterator[Branch]:
    """Branches that put the regions, layers of these names, at their places."""
    left = iter(names)
    for top, bottom in _gaps(layer.rows):
        for before, after in _gaps(layer.columns):
            branch = window_branch(config, next(left), points, layer.shape[0], (1, 1))
            yield replace(branch, padding=(top, before, bottom, after))


def _gaps(runs: tuple[WindowRun, ...]) -> list[Pair]:
    """Outputs before and after each run."""
    ends = np.cumsum([run.count for run in runs]).tolist()
    return [(end - run.count, ends[-1] - end) for end, run in zip(ends, runs, strict=True)]
