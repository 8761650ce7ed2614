"""Poolings of the quantized model."""

from itertools import product
from math import lcm

import torch
import torch.nn.functional as F
from torch import Tensor

from twofold.golden.network import Padding, Pair
from twofold.train.layers import QuantLayer, Tensors
from twofold.train.skip import Read
from twofold.train.windows import WindowRun, pad


class PoolLayer(QuantLayer):
    """Base of the poolings: one source, or some of its channels, depthwise."""

    def __init__(
        self, name: str, kind: str, shape: tuple[int, int, int], source: str | Read, *, nonnegative: bool = False
    ):
        super().__init__(name, kind, shape, nonnegative=nonnegative)
        self.read = Read(source) if isinstance(source, str) else source
        self.source = self.read.source

    @property
    def sources(self) -> tuple[str, ...]:
        return (self.source,)


class MaxLayer(PoolLayer):
    """Maximum over windows; padding is left out."""

    copies = True

    def __init__(
        self,
        name: str,
        shape: tuple[int, int, int],
        source: str | Read,
        *,
        kernel: Pair,
        stride: Pair,
        padding: Padding = (0, 0),
        dilation: Pair = (1, 1),
        nonnegative: bool = False,
    ):
        super().__init__(name, "maxpool", shape, source, nonnegative=nonnegative)
        self.kernel, self.stride, self.padding, self.dilation = kernel, stride, padding, dilation

    def compute(self, tensors: Tensors) -> Tensor:
        x = pad(self.read.of(tensors), self.padding, float("-inf"))
        return F.max_pool2d(x, self.kernel, self.stride, 0, self.dilation)


class MeanLayer(PoolLayer):
    """Base of what gives means: sums of integer multiples of the source's values, divided by `divisor`."""

    @property
    def divisor(self) -> int:
        """What sums of integers are divided by."""
        raise NotImplementedError


class AverageLayer(MeanLayer):
    """Sums over windows, each divided by its own number.

    Parameters
    ----------
    rows, columns
        The windows along each axis; a window's divisor is the product of its row's and its column's.
    """

    def __init__(
        self,
        name: str,
        shape: tuple[int, int, int],
        source: str | Read,
        *,
        rows: tuple[WindowRun, ...],
        columns: tuple[WindowRun, ...],
        nonnegative: bool = False,
    ):
        super().__init__(name, "avgpool", shape, source, nonnegative=nonnegative)
        self.rows, self.columns = rows, columns

    @property
    def divisor(self) -> int:
        """Least common multiple of all divisors."""
        return lcm(*(row.divisor * column.divisor for row, column in product(self.rows, self.columns)))

    def compute(self, tensors: Tensors) -> Tensor:
        sums = _along(self.read.of(tensors), self.rows, 2)
        return _along(sums, self.columns, 3)


def _along(x: Tensor, runs: tuple[WindowRun, ...], axis: int) -> Tensor:
    """Averages along one axis of (B, C, H, W)."""
    parts = []
    for run in runs:
        end = run.start + (run.count - 1) * run.step + run.size - x.shape[axis]
        sides = (-run.start, 0, end, 0) if axis == 2 else (0, -run.start, 0, end)
        kernel, step = ((run.size, 1), (run.step, 1)) if axis == 2 else ((1, run.size), (1, run.step))
        parts.append(F.avg_pool2d(pad(x, sides), kernel, step, divisor_override=run.divisor))
    return parts[0] if len(parts) == 1 else torch.cat(parts, axis)
