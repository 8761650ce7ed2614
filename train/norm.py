"""Batch norm that stays one while a quantized model is trained, and is folded into gains and biases in the end.

Folded before training, batch norm spreads the ranges of the channels: a quantizer with one scale a layer then spends
its few levels on the widest channels, and nothing pulls the activations back that rounding has moved. Kept, the weights
are quantized as they were trained, and the channels' factors go where the array has them anyhow: into requantisation.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn

#: A channel's factor is at least this part of the layer's largest, so that requantisation can have it.
LEAST_GAIN = 2.0**-8


def kept_norm(norm: nn.BatchNorm1d | nn.BatchNorm2d, weight: Tensor, bias: Tensor) -> tuple[Tensor, nn.BatchNorm2d]:
    """Weights, and the batch norm over maps that follows their layer without bias; all its factors are positive.

    Parameters
    ----------
    norm
        The user's. It is not changed.
    weight : shape (M, ...)
        Of the convolution; channels whose factor is negative come back negated.
    bias : shape (M,)
        Of the convolution.
    """
    assert norm.running_mean is not None and norm.running_var is not None
    kept = nn.BatchNorm2d(norm.num_features, norm.eps, norm.momentum)
    factor = torch.ones_like(norm.running_mean) if norm.weight is None else norm.weight.detach()
    sign = torch.where(factor < 0, -torch.ones_like(factor), torch.ones_like(factor))
    with torch.no_grad():
        kept.running_mean.copy_((norm.running_mean - bias) * sign)  # type: ignore[union-attr]
        kept.running_var.copy_(norm.running_var)  # type: ignore[union-attr]
        kept.weight.copy_(factor.abs())
        if norm.bias is not None:
            kept.bias.copy_(norm.bias)
    bound(kept)
    return weight * sign.view(-1, 1, 1, 1), kept


@torch.no_grad()
def bound(norm: nn.BatchNorm2d) -> None:
    """Keep the factors positive, and none too small beside the largest."""
    least = gains(norm).max().clamp(min=1e-6) * LEAST_GAIN
    norm.weight.copy_(torch.maximum(norm.weight, least * deviation(norm)))


def deviation(norm: nn.BatchNorm2d) -> Tensor:
    """Running standard deviations, shape (M,)."""
    assert norm.running_var is not None
    return (norm.running_var + norm.eps).sqrt()


def gains(norm: nn.BatchNorm2d) -> Tensor:
    """Factors of the channels in evaluation, shape (M,)."""
    return norm.weight.detach() / deviation(norm)


def offsets(norm: nn.BatchNorm2d) -> Tensor:
    """What evaluation adds to the channels, shape (M,)."""
    assert norm.running_mean is not None
    return norm.bias.detach() - norm.running_mean * gains(norm)


def normalise(norm: nn.BatchNorm2d, x: Tensor) -> tuple[Tensor, Callable[[], Tensor] | None]:
    """Batch norm in training, and what gives its result once more; ``None`` where the batch is shared by processes."""
    if type(norm) is not nn.BatchNorm2d or norm.momentum is None:
        return norm(x), None
    assert norm.num_batches_tracked is not None
    norm.num_batches_tracked += 1
    y, mean, deviation = torch.native_batch_norm(
        x, norm.weight, norm.bias, norm.running_mean, norm.running_var, True, norm.momentum, norm.eps
    )
    source, factor = x.detach(), (norm.weight * deviation).detach()
    offset = norm.bias.detach() - mean.detach() * factor

    def again() -> Tensor:
        return torch.addcmul(offset.view(1, -1, 1, 1), source, factor.view(1, -1, 1, 1))

    return y, again


def forgotten(y: Tensor, again: Callable[[], Tensor]) -> AbstractContextManager[Any]:
    """While it lasts, whoever keeps `y` for the way back keeps `again` instead: a third of a layer's memory less."""

    place, shape = y.data_ptr(), y.shape  # not y itself: whoever keeps a hook would keep it

    def pack(tensor: Tensor) -> Any:
        return again if tensor.data_ptr() == place and tensor.shape == shape else tensor

    def unpack(kept: Any) -> Tensor:
        return kept if isinstance(kept, Tensor) else kept()

    return torch.autograd.graph.saved_tensors_hooks(pack, unpack)
