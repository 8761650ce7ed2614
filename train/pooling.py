"""Poolings as branches: a maximum's windows, and averages whose windows have different divisors, exactly.

Windows that are alike make a region of the output. Every region's sums are multiplied with what its divisor lacks to
the least common multiple of all, a small integer, so that one multiplier requantises all of them and each average is
rounded once. A last layer of identity branches puts the regions together, each within a padding that fills the map.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from twofold.golden.catalog import digit_points
from twofold.golden.config import ArrayConfig
from twofold.golden.digit_words import digit_codes
from twofold.golden.network import Branch, Pair
from twofold.train.pool_layers import AverageLayer
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
    weights = np.full((channels, 1, *kernel), weight, dtype=np.int64)
    codes, shifts = digit_codes(weights, digit_points(config.fmt))
    used = [n for n, shift in enumerate(shifts) if (codes[n] != digit_points(config.fmt).encode(0)).any()]
    if shifts[used[-1]] > config.max_pass_shift:
        raise ValueError(
            f"max_pass_shift must be at least {shifts[used[-1]]} for a sum times {weight}, "
            f"which the window's divisor lacks to the others, not {config.max_pass_shift!r}"
        )
    return Branch(source, points, np.ascontiguousarray(codes[used]), tuple(shifts[n] for n in used), groups=channels)


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
