"""Batch norms and constants on their own in the quantized model: each channel times a number, plus another."""

import torch
from torch import Tensor, nn

from twofold.train.layers import QuantLayer, Tensors
from twofold.train.pointwise import Function
from twofold.train.skip import Read, concatenated


class ScaleLayer(QuantLayer):
    """Channels of one tensor or of several, each times a gain of its own, plus a bias.

    The gains are requantisation's multipliers, so they are not quantized otherwise, and tensors of any scales meet.

    Parameters
    ----------
    reads
        The channels, in order.
    gain, bias : shape (channels,)
        Real numbers.
    """

    def __init__(
        self,
        name: str,
        shape: tuple[int, int, int],
        reads: tuple[Read, ...],
        gain: Tensor,
        bias: Tensor,
        *,
        relu: bool = False,
        nonnegative: bool = False,
        limit: float | None = None,
        function: Function | None = None,
    ):
        nonnegative = nonnegative or relu if function is None else function.nonnegative
        super().__init__(name, "add", shape, relu=relu, nonnegative=nonnegative, limit=limit, function=function)
        self.reads = reads
        self.gain, self.bias = nn.Parameter(gain), nn.Parameter(bias)

    @property
    def sources(self) -> tuple[str, ...]:
        return tuple(read.source for read in self.reads)

    def compute(self, tensors: Tensors) -> Tensor:
        x = concatenated(self.reads, tensors)
        return torch.addcmul(self.bias.view(1, -1, 1, 1), x, self.gain.view(1, -1, 1, 1))
