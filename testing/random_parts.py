"""A random layer whose output is in parts, as those of transposed convolutions are."""

from dataclasses import replace
from itertools import product

import numpy as np
from numpy.random import Generator

from twofold.golden.config import ArrayConfig
from twofold.golden.network import Branch, Layer
from twofold.golden.parts import Part

#: Part of the convolutions that are taken, steps down and across, and the largest side of what comes of it.
SHARE, STEPS, SIDE = 0.15, ((2, 2), (2, 1), (1, 2), (1, 3)), 14


def with_parts(rng: Generator, config: ArrayConfig, layer: Layer) -> Layer:
    """Mostly the layer, else one of as many parts as a step down and across gives, with its branches turned over.

    The last rows or columns of some parts may be missing.
    """
    if layer.kind != "conv2d" or layer.skip is not None or rng.random() > SHARE:
        return layer
    down, across = STEPS[int(rng.integers(len(STEPS)))]
    channels, height, width = layer.output.shape
    less = [int(count > 1 and rng.random() < 0.4) for count in (height, width)]
    side = max(height * down, width * across)
    if side > min(SIDE, config.max_side):
        return layer
    parts, branches, biases, rights = [], list[Branch](), [], []
    for number, (y, x) in enumerate(product(range(down), range(across))):
        cut = (less[0] if y else 0, less[1] if x else 0)
        parts.append(Part((y, x), (down, across), (height - cut[0], width - cut[1])))
        branches += [_turned(rng, one, number * channels, cut) for one in layer.branches]
        biases.append(layer.bias // (number + 1))
        rights.append(np.minimum(layer.right + number % 2, min(62, config.scaled_bits)))
    size = (height * down - less[0] * (down - 1), width * across - less[1] * (across - 1))
    return replace(
        layer,
        branches=tuple(branches),
        output=replace(layer.output, shape=(channels, *size)),
        bias=np.concatenate(biases),
        multiplier=np.tile(layer.multiplier, len(parts)),
        right=np.concatenate(rights),
        parts=tuple(parts),
    )


def _turned(rng: Generator, branch: Branch, start: int, cut: tuple[int, int]) -> Branch:
    """The branch for the channels from `start` on, its kernel turned over or not, with that many fewer positions."""
    turns = [slice(None, None, -1) if rng.random() < 0.5 else slice(None) for _ in range(2)]
    below, right = (end - less * step for end, less, step in zip(branch.end, cut, branch.stride, strict=True))
    padding = (*branch.begin, below, right) if any(cut) else branch.padding
    codes = np.ascontiguousarray(branch.codes[..., turns[0], turns[1]])
    return replace(branch, codes=codes, channel=branch.channel + start, padding=padding)
