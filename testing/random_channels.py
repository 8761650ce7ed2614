"""Random choices of the channels that a branch reads."""

from dataclasses import replace

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from twofold.golden.network import Branch


def with_channels(rng: Generator, branch: Branch) -> Branch:
    """The branch, now and then reading some channels of its source: a slice, every second one, or any in any order.

    Of a branch with groups the order is changed only. The branch reads all channels before.
    """
    if branch.in_channels == 1 or rng.random() > 0.2:
        return branch
    if branch.groups > 1:
        return replace(branch, channels=tuple(rng.permutation(branch.in_channels).tolist()))
    read = _some(rng, branch.in_channels)
    return replace(branch, codes=np.ascontiguousarray(branch.codes[:, :, read]), channels=tuple(read.tolist()))


def _some(rng: Generator, count: int) -> NDArray[np.int64]:
    kind = rng.integers(3)
    if kind == 0:
        begin = int(rng.integers(count))
        return np.arange(begin, int(rng.integers(begin, count)) + 1)
    if kind == 1:
        return np.arange(int(rng.integers(2)), count, 2)
    return rng.permutation(count)[: int(rng.integers(count)) + 1]
