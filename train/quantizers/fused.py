"""Mixture of clipped roundings as two element-wise functions, which `torch.compile` makes one loop each."""

import os
import shutil
import warnings
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor

#: Compiling takes half a minute, once a machine: only for tensors of so many numbers.
LEAST = 1 << 20


def mix(x: Tensor, scales: Tensor, factors: Tensor, lows: Tensor, highs: Tensor) -> Tensor:
    """``sum(factor * clip(rint(x / scale), low, high))`` over the members.

    Parameters
    ----------
    x : shape (N,)
        Activations.
    scales, factors, lows, highs : shape (K,)
        Of each member: LSB, factor, clip bounds (LSBs).
    """
    total = _rounded(x, scales, lows, highs, 0) * factors[0]
    for k in range(1, len(scales)):
        total = total + _rounded(x, scales, lows, highs, k) * factors[k]
    return total


def gradients(
    x: Tensor, incoming: Tensor, scales: Tensor, shares: Tensor, lows: Tensor, highs: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """What the gradient of a mixture is made of.

    Parameters
    ----------
    incoming : shape (N,)
        Gradient of the mixture.
    x, scales, shares, lows, highs
        As of `mix`.

    Returns
    -------
    Gradient of the activations, shape (N,); for each member the incoming gradient times its integers, and the incoming
    gradient of what it clips above less that of what it clips below zero, shape (K,).
    """
    to_x, products, clipped = torch.zeros_like(x), [], []
    for k in range(len(scales)):
        products.append((incoming * _rounded(x, scales, lows, highs, k)).sum())
        above, below = x >= highs[k] * scales[k], x <= lows[k] * scales[k]
        to_x = to_x + torch.where(above | below, 0.0, incoming) * shares[k]
        negative = torch.where(below & (lows[k] < 0), incoming, 0.0)
        clipped.append((torch.where(above, incoming, 0.0) - negative).sum())
    return to_x, torch.stack(products), torch.stack(clipped)


def _rounded(x: Tensor, scales: Tensor, lows: Tensor, highs: Tensor, k: int) -> Tensor:
    return torch.clamp(torch.round(x / scales[k]), lows[k], highs[k])


@cache
def compiled() -> tuple[Callable[..., Tensor], Callable[..., Any]] | None:
    """`mix` and `gradients` compiled; ``None`` where there is no C++ compiler, or it fails."""
    if shutil.which(os.environ.get("CXX", "g++")) is None:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of what PyTorch imports to compile
            pair = torch.compile(mix, dynamic=True), torch.compile(gradients, dynamic=True)
            some, ones = torch.linspace(-1, 1, 4096), torch.ones(3)
            pair[0](some, ones, ones, -ones, ones)
            pair[1](some, some, ones, ones, -ones, ones)
    except RuntimeError:
        return None
    return pair


def functions(x: Tensor) -> tuple[Callable[..., Tensor], Callable[..., Any]] | None:
    """`mix` and `gradients` for such activations; ``None``: blocks are faster."""
    if x.device.type != "cpu":
        return mix, gradients
    return compiled() if x.numel() >= LEAST and not torch.compiler.is_compiling() else None
