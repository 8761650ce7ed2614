"""Layers that put values at other positions, as they are: nearest upsampling and pixel shuffle."""

from collections.abc import Iterator
from itertools import product

import torch.nn.functional as F
from torch import Tensor

from twofold.golden.network import Pair
from twofold.golden.parts import Part
from twofold.train.layers import Tensors
from twofold.train.pool_layers import PoolLayer
from twofold.train.skip import Read


class ResizeLayer(PoolLayer):
    """Each value at as many positions as `factor` says, or (`shuffled`) as many channels at the positions of one.

    Its format is its source's.
    """

    copies = True

    def __init__(
        self,
        name: str,
        shape: tuple[int, int, int],
        source: str | Read,
        *,
        factor: Pair,
        shuffled: bool = False,
        nonnegative: bool = False,
    ):
        super().__init__(name, "add", shape, source, nonnegative=nonnegative)
        self.factor, self.shuffled = factor, shuffled

    def compute(self, tensors: Tensors) -> Tensor:
        x = self.read.of(tensors)
        if self.shuffled:
            return F.pixel_shuffle(x, self.factor[0])
        return x.repeat_interleave(self.factor[0], 2).repeat_interleave(self.factor[1], 3)

    def parts(self, count: int) -> Iterator[tuple[Part, tuple[int, ...] | None]]:
        """Parts of the output, and the channels of the source that each is; None: all. The source has `count`."""
        _, height, width = self.shape
        down, across = self.factor
        whole = tuple(range(count)) if self.read.channels is None else self.read.channels
        for number, place in enumerate(product(range(down), range(across))):
            part = Part(place, self.factor, (height // down, width // across))
            yield part, whole[number :: down * across] if self.shuffled else self.read.channels
