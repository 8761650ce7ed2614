"""Layers that put values at other positions: nearest and bilinear upsampling, and pixel shuffle."""

from collections.abc import Iterator
from itertools import product

import torch
from torch import Tensor

from twofold.golden.network import Pair
from twofold.golden.parts import Part
from twofold.train.between import LineRun, Lines
from twofold.train.layers import Tensors
from twofold.train.pool_layers import MeanLayer, PoolLayer
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
            count, _, height, width = x.shape
            spread = x.reshape(count, -1, *self.factor, height, width).permute(0, 1, 4, 2, 5, 3)
            return spread.reshape(count, *self.shape)
        return x.repeat_interleave(self.factor[0], 2).repeat_interleave(self.factor[1], 3)

    def parts(self, count: int) -> Iterator[tuple[Part, tuple[int, ...] | None]]:
        """Parts of the output, and the channels of the source that each is; None: all. The source has `count`."""
        _, height, width = self.shape
        down, across = self.factor
        whole = tuple(range(count)) if self.read.channels is None else self.read.channels
        for number, place in enumerate(product(range(down), range(across))):
            part = Part(place, self.factor, (height // down, width // across))
            yield part, whole[number :: down * across] if self.shuffled else self.read.channels


class BilinearLayer(MeanLayer):
    """Values between those of the source, each a mean of up to two rows and two columns.

    Where no output lies between two inputs the values are copies, and keep the source's format.

    Parameters
    ----------
    rows, columns
        Where the outputs lie.
    """

    def __init__(
        self,
        name: str,
        shape: tuple[int, int, int],
        source: str | Read,
        *,
        rows: Lines,
        columns: Lines,
        nonnegative: bool = False,
    ):
        copies = rows.divisor == columns.divisor == 1
        super().__init__(name, "add" if copies else "avgpool", shape, source, nonnegative=nonnegative)
        self.rows, self.columns, self.copies = rows, columns, copies

    @property
    def divisor(self) -> int:
        return self.rows.divisor * self.columns.divisor

    def compute(self, tensors: Tensors) -> Tensor:
        return _between(_between(self.read.of(tensors), self.rows, 2), self.columns, 3)

    def parts(self) -> Iterator[tuple[Part, LineRun, LineRun]]:
        """Parts of the output, each with what its rows and its columns are."""
        for row, column in product(self.rows.runs, self.columns.runs):
            offset, step, size = zip(*((run.offset, run.step, run.count) for run in (row, column)), strict=True)
            yield Part(offset, step, size), row, column


def _between(x: Tensor, axis: Lines, place: int) -> Tensor:
    """Values between neighbours along one axis of (B, C, H, W)."""
    lines = axis.places
    first = torch.tensor([line for line, _ in lines])
    y = x.index_select(place, first)
    if axis.divisor == 1:
        return y
    parts = torch.tensor([float(part) for _, part in lines]).view(-1, *[1] * (3 - place))
    behind = x.index_select(place, (first + 1).clamp(max=x.shape[place] - 1))
    return y + (behind - y) * parts
