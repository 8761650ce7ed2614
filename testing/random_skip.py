"""A random skip of a random layer."""

import math
from dataclasses import replace

from numpy.random import Generator

from twofold.golden.config import ArrayConfig
from twofold.golden.isa import Drain
from twofold.golden.layers import worst_scaled
from twofold.golden.network import Layer, Network, SkipTensor
from twofold.mapper.bounds import acc_width


def with_skip(rng: Generator, config: ArrayConfig, network: Network, layer: Layer, source: str) -> Layer:
    """The network's last layer with a tensor of its output's shape as skip, unless the build has no room for its sums.

    `layer` is that layer, requantised. The skip's largest value is mostly near the output's, so that shifts of either
    sign come up.
    """
    shifts = Drain.record(config)["skip_shift"]
    middle = round(math.log2(layer.output.high / network.tensors[source].high)) + int(rng.integers(-3, 2))
    shift = max(shifts.low, -int(layer.right.min()), min(shifts.high, middle))
    if shift + int(layer.right.max()) > 62:
        return layer
    found = replace(layer, skip=SkipTensor(source, shift))
    whole = replace(network, layers=(*network.layers[:-1], found))
    fits = acc_width(config, whole, found) <= config.acc_width and max(worst_scaled(whole, found)) < 1 << 62
    return found if fits else layer
