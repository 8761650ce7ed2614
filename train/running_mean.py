"""A running mean of what a training moves: often better than where its last step has left it."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from twofold.train.layers import QuantModel


class RunningMean:
    """Mean of parameters and of batch norms' statistics over the steps.

    Parameters
    ----------
    model
        What is trained.
    parameters
        Of the model, those that the mean is of.
    keep
        Part of the mean that a step leaves. The first steps leave less, ``(1 + n) / (10 + n)``, so that the mean does
        not stay near where the training began.

    Attributes
    ----------
    means
        One for each tensor.
    """

    def __init__(self, model: nn.Module, parameters: list[Tensor], keep: float):
        self.model, self.keep = model, keep
        norms = [part for part in model.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
        statistics = [b for norm in norms for b in norm.buffers() if b.is_floating_point()]
        self.tensors = [tensor.detach() for tensor in (*parameters, *statistics)]
        self.means = [tensor.clone() for tensor in self.tensors]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in what a step, numbered from 0, has left."""
        torch._foreach_lerp_(self.means, self.tensors, 1 - min(self.keep, (1 + step) / (10 + step)))

    @torch.no_grad()
    def take(self) -> None:
        """Put the means into the model."""
        self._put(self.means)

    @contextmanager
    def instead(self) -> Iterator[None]:
        """The model has the means for a while."""
        kept = [tensor.clone() for tensor in self.tensors]
        self.take()
        yield
        self._put(kept)

    @torch.no_grad()
    def _put(self, values: list[Tensor]) -> None:
        for tensor, value in zip(self.tensors, values, strict=True):
            tensor.copy_(value)
        if isinstance(self.model, QuantModel):
            self.model.after_step()
