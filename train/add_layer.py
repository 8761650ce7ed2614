"""Additions of the quantized model."""

from torch import Tensor

from twofold.train.layers import QuantLayer, Tensors
from twofold.train.pointwise import Function
from twofold.train.skip import Skip


class AddLayer(QuantLayer):
    """Sum of one or more tensors; with `copies` one tensor as it is, but for padding and steps."""

    def __init__(
        self,
        name: str,
        shape: tuple[int, int, int],
        skips: tuple[Skip, ...],
        *,
        relu: bool = False,
        nonnegative: bool = False,
        limit: float | None = None,
        function: Function | None = None,
        copies: bool = False,
    ):
        super().__init__(name, "add", shape, relu=relu, nonnegative=nonnegative, limit=limit, function=function)
        self.skips, self.copies = skips, copies

    @property
    def sources(self) -> tuple[str, ...]:
        return tuple(skip.source for skip in self.skips)

    def compute(self, tensors: Tensors) -> Tensor:
        y = self.skips[0].read(tensors, self.shape[0])
        for skip in self.skips[1:]:
            y = y + skip.read(tensors, self.shape[0])
        return y
