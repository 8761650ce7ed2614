"""Random words of every weight format that a build can run."""

import math
from collections.abc import Mapping

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from twofold.golden import catalog
from twofold.golden.config import ArrayConfig
from twofold.golden.digit_words import digit_codes
from twofold.golden.formats import PointSet
from twofold.golden.network import Branch, Tensor

#: Kinds of weights: one word, several words by tile, and integers written as signed digits.
WORDS = ("one word", "two words", "uniform", "binary", "ternary")
Words = tuple[str, NDArray[np.uint8], tuple[int, ...]]


def random_points(rng: Generator, config: ArrayConfig) -> dict[str, PointSet]:
    """Point sets of a random network, at most as many as the build holds.

    The first always has the signed digits. A subset build with room for more also gets random sets, one without
    zero and one with it.
    """
    digits = catalog.digit_points(config.fmt)
    if config.pe == "log":
        return {"log": digits}
    point_sets = {"digits": digits}
    nonzero = [level for level in config.fmt.universal_set if level]
    for n in range(min(config.sets - 1, 3)):
        levels = [int(level) for level in rng.choice(nonzero, config.fmt.point_count, replace=False)]
        if n % 2:
            levels[int(rng.integers(len(levels)))] = 0
        point_sets[f"set{n}"] = PointSet(config.fmt, tuple(levels))
    return point_sets


def random_words(
    rng: Generator, config: ArrayConfig, point_sets: Mapping[str, PointSet], shape: tuple[int, int, int, int]
) -> Words:
    """Point set, codes and shifts of a random kind of weights.

    Parameters
    ----------
    rng, config, point_sets
        Source of chance, build, and the network's point sets (`random_points`).
    shape
        (M, N / groups, Kh, Kw).
    """
    kind = str(rng.choice(WORDS, p=(0.3, 0.25, 0.25, 0.1, 0.1)))
    digits = next(iter(point_sets))
    if kind == "uniform":
        half = 1 << int(rng.integers(1, 8))
        values = rng.integers(-half, half, shape)
        values.flat[0] = -half
    elif kind == "binary":
        values = rng.choice([-1, 1], shape)
    elif kind == "ternary":
        values = rng.integers(-1, 2, shape)
    else:
        name = str(rng.choice(list(point_sets)))
        if kind == "one word":
            return (
                name,
                random_codes(rng, point_sets[name], (1, *shape)),
                (int(rng.integers(min(config.max_pass_shift, 3) + 1)),),
            )
        return name, *two_words(rng, config, point_sets[name], shape)
    codes, shifts = digit_codes(values, point_sets[digits])
    if max(shifts) > config.max_pass_shift:
        return digits, random_codes(rng, point_sets[digits], (1, *shape)), (0,)
    return digits, codes, shifts


def random_codes(rng: Generator, points: PointSet, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Any codes, the two zeros of a log word included."""
    return rng.integers(0, 2 * points.fmt.point_count, shape, dtype=np.uint8)


def two_words(
    rng: Generator, config: ArrayConfig, points: PointSet, shape: tuple[int, int, int, int]
) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    """Two words a weight, each with its shift; where the set has a zero, only some tiles have a second word."""
    shifts = rng.choice(min(config.max_pass_shift, 4) + 1, 2)
    codes = random_codes(rng, points, (2, *shape))
    if points.has_zero:
        blocks = (math.ceil(shape[0] / config.cols), math.ceil(shape[1] / config.rows), *shape[2:])
        chosen = rng.random(blocks) < rng.random()
        whole = chosen.repeat(config.cols, axis=0).repeat(config.rows, axis=1)[: shape[0], : shape[1]]
        codes[1][~whole] = points.encode(0)
    return codes, (int(shifts[0]), int(shifts[1]))


def tile_passes(config: ArrayConfig, points: PointSet, branch: Branch) -> int:
    """Passes of a branch for one chunk, at most."""
    inputs, outputs = branch.codes.shape[2], branch.out_channels // branch.groups
    read = branch.channels or range(branch.in_channels)
    tiles = {
        ((branch.channel + m) // config.cols, read[n] // config.rows)
        for m in range(branch.out_channels)
        for n in range(m // outputs * inputs, (m // outputs + 1) * inputs)
    }
    # Without a zero in the set, each group of a tile needs a pass of its own.
    repeats = 1 if points.has_zero or branch.groups == 1 else min(branch.groups, config.rows, config.cols)
    return len(tiles) * int(branch.codes[0, 0, 0].size) * len(branch.shifts) * repeats


def random_images(rng: Generator, tensor: Tensor, count: int) -> NDArray[np.int64]:
    """Values of a tensor, shape (count, C, H, W): noise, extremes, sparse ones and the largest, in turn."""
    shape = (count, *tensor.shape)
    noise = rng.integers(tensor.low, tensor.high + 1, shape)
    extremes = np.where(rng.random(shape) < 0.5, tensor.low, tensor.high)
    sparse = np.where(rng.random(shape) < 0.1, noise, 0)
    kind = (np.arange(count) % 4)[:, None, None, None]
    return np.select([kind == 0, kind == 1, kind == 2], [noise, extremes, sparse], tensor.high).astype(np.int64)
