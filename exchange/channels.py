"""Branches that read some channels of their source, as convolutions of the whole of it."""

import numpy as np
from numpy.typing import NDArray

from twofold.golden.network import Branch


def whole_weights(branch: Branch, weights: NDArray[np.int64], count: int) -> tuple[NDArray[np.int64], int]:
    """Weights and groups of a convolution of all channels that gives the same sums.

    Parameters
    ----------
    weights : shape (M, N / groups, Kh, Kw)
        Of the branch.
    count
        Channels of the source.
    """
    if branch.channels is None:
        return weights, branch.groups
    inputs, outputs = weights.shape[1], len(weights) // branch.groups
    whole = np.zeros((len(weights), count, *weights.shape[2:]), dtype=np.int64)
    for channel, part in enumerate(weights):
        first = channel // outputs * inputs
        whole[channel, list(branch.channels[first : first + inputs])] = part
    return whole, 1
