"""How wide the accumulator and the scaled sum must be, proven from the words and the range of the activations."""

import numpy as np
from numpy.typing import NDArray

from twofold.golden.config import ArrayConfig
from twofold.golden.network import INPUT, Layer, Network

Array = NDArray[np.int64]


def source_range(network: Network, source: str) -> tuple[int, int]:
    """Least and largest activation that a tensor can hold: its format's bounds, or what its layer can give."""
    if source == INPUT:
        return network.input.low, network.input.high
    return next(layer for layer in network.layers if layer.name == source).range


def accumulator_bits(config: ArrayConfig, network: Network, layer: Layer) -> int:
    """The smallest two's complement width (bits) that holds every sum and every maximum of a layer, with its bias.

    Intermediate sums may be larger: they wrap, and wrap back. A maximum may not.
    """
    return _sum_bits(config, layer, *_sum_range(network, layer))


def _sum_bits(config: ArrayConfig, layer: Layer, low: NDArray[np.object_], high: NDArray[np.object_]) -> int:
    """`accumulator_bits`, with `_sum_range` at hand."""
    extremes = [int(low.min()), int(high.max())]
    if layer.maximum:
        # What is compared is whole column sums, with their constants.
        extremes.append(config.rows * config.product_max << max(layer.branches[0].shifts))
    return max(_signed_bits(value) for value in extremes)


def acc_width(config: ArrayConfig, network: Network, layer: Layer) -> int:
    """The least `acc_width` of the build for a layer: for its sums, and for those that are scaled and have a skip."""
    sum_range = _sum_range(network, layer)
    bits = _sum_bits(config, layer, *sum_range)
    if layer.skip is None:
        return bits
    skip = source_range(network, layer.skip.source)
    extremes = []
    for sums, one in zip(sum_range, skip, strict=True):
        extremes += (
            sums * layer.multiplier + np.left_shift(one, layer.skip.shift + layer.right.astype(object))
        ).tolist()
    return max(bits, max(map(_signed_bits, extremes)) - (config.scaled_bits - config.acc_width))


def _sum_range(network: Network, layer: Layer) -> tuple[NDArray[np.object_], NDArray[np.object_]]:
    """Least and largest sum (or maximum) of every channel, with its bias."""
    low, high = layer.bias.astype(object), layer.bias.astype(object)
    for branch in layer.branches:
        least, largest = source_range(network, branch.source)
        # Padding is zero, so a window never sees less than nothing.
        least, largest = min(least, 0), max(largest, 0)
        points = network.point_sets[branch.point_set]
        weights = branch.weights(points)
        positive = np.maximum(weights, 0).sum(axis=(1, 2, 3)).astype(object)
        negative = np.minimum(weights, 0).sum(axis=(1, 2, 3)).astype(object)
        if layer.maximum:
            positive, negative = weights.max(axis=(1, 2, 3)).astype(object), weights.min(axis=(1, 2, 3)).astype(object)
            positive, negative = np.maximum(positive, 0), np.minimum(negative, 0)
        place = slice(branch.channel, branch.channel + branch.out_channels)
        part_low, part_high = positive * least + negative * largest, positive * largest + negative * least
        low, high = low.copy(), high.copy()
        low[place] += part_low
        high[place] += part_high
    return low, high


def _signed_bits(value: int) -> int:
    return (value if value >= 0 else ~value).bit_length() + 1
