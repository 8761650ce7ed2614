"""Builds and one-layer networks that tests shape to a purpose."""

import numpy as np

from twofold.golden import catalog
from twofold.golden.config import ArrayConfig
from twofold.golden.formats import PointSet
from twofold.golden.network import INPUT, Branch, Layer, Network, Tensor


def build(**changes) -> ArrayConfig:
    values = {"name": "small", "pe": "log", "rows": 4, "cols": 4, "word_bits": 3, "max_side": 32}
    return ArrayConfig(**values | changes)


NATURAL = catalog.log_points(build().fmt)
DENSE = PointSet(build(pe="subset").fmt, (1, 2, 8, 32))


def branch(codes, source=INPUT, points="natural", shifts=(0,), **geometry) -> Branch:
    return Branch(source, points, np.asarray(codes, dtype=np.uint8), shifts, **geometry)


def layer(name, branches, shape, **changes) -> Layer:
    channels = shape[0]
    values = {
        "kind": "conv2d",
        "output": Tensor(shape, 8, False, 1.0),
        "bias": np.zeros(channels, dtype=np.int64),
        "multiplier": np.ones(channels, dtype=np.int64),
        "right": np.zeros(channels, dtype=np.int64),
        "low": 0,
        "high": 255,
    }
    return Layer(name, branches=tuple(branches), **values | changes)


def network(layers, shape=(4, 4, 4), points=None, **tensor) -> Network:
    values = {"bits": 8, "signed": False, "scale": 1.0}
    return Network("net", Tensor(shape, **values | tensor), tuple(layers), points or {"natural": NATURAL})


def pointwise(channels=4, size=(4, 4), inputs=4, code=1, **changes) -> Network:
    """One 1x1 convolution whose codes are all the same."""
    one = layer("conv", [branch(np.full((1, channels, inputs, 1, 1), code))], (channels, *size), **changes)
    return network([one], (inputs, *size))
