"""Layers in parts, written: each part's values at its places, skip and table behind them."""

from dataclasses import replace

import numpy as np
import pytest

from tests.exchange.networks import WIDE
from tests.mapper.small import branch, layer, network
from twofold.exchange.referee import compare
from twofold.golden.network import SkipTensor, Tensor
from twofold.golden.parts import Part
from twofold.golden.table import PointwiseTable

#: The first row, and of the others every second column each.
PARTS = (Part((0, 0), (1, 1), (1, 4)), Part((1, 0), (1, 2), (3, 2)), Part((1, 1), (1, 2), (3, 2)))
PADDINGS = ((0, 0, -3, 0), (-1, 0, 0, 0), (-1, -1, 0, 1))
X = np.random.default_rng(0).integers(0, 256, (5, 2, 4, 4))


def in_parts(**changes):
    """Three parts of unlike weights, biases and shifts, and a skip."""
    branches = [
        branch(np.full((1, 2, 2, 1, 1), code), points="wide", channel=2 * n, padding=pads, stride=(1, 2 if n else 1))
        for n, (code, pads) in enumerate(zip((1, 2, 9), PADDINGS, strict=True))
    ]
    numbers = {
        "bias": np.array([40, -300, 5, 0, 77, 901]),
        "multiplier": np.array([1, 2, 1, 1, 2, 1]),
        "right": np.array([3, 3, 4, 2, 1, 3]),
        "output": Tensor((2, 4, 4), 8, True, 0.25),
    }
    rest = {"low": -128, "high": 127, "skip": SkipTensor("input", -1), "parts": PARTS}
    return network([layer("sum", branches, (2, 4, 4), **numbers | rest | changes)], (2, 4, 4), {"wide": WIDE})


@pytest.mark.parametrize("style", ["exact", "qdq"])
@pytest.mark.parametrize("table", [False, True])
def test_parts_at_any_places_with_a_skip(style, table):
    one = in_parts()
    if table:
        entries = np.random.default_rng(1).integers(-128, 128, 512)
        (only,) = one.layers
        one = replace(one, layers=(replace(only, table=PointwiseTable(9, True, 0.25, entries), low=-256, high=255),))
    (found,) = compare(one, X, style=style)
    assert (found.values, found.different, found.own) == (160, 0, 0)
