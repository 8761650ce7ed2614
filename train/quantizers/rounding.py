"""Rounding of activations to a clipped grid, forward and backward in as few passes over memory as it takes."""

from typing import Any

import torch
from torch import Tensor


class _Round(torch.autograd.Function):
    """See `round_clipped`. What it keeps, others keep too: the layer before or after it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, low: int, high: int, share: float, slack: float) -> Tensor:
        out = (x / scale).round_().clamp_(low, high).mul_(scale)
        ctx.save_for_backward(x, scale, out)
        ctx.numbers = low, high, share, slack
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = gradients
        x, scale, out = ctx.saved_tensors
        low, high, share, slack = ctx.numbers
        step = float(scale)
        inside = torch.ops.aten.hardtanh_backward(gradient, x, (low - slack) * step, (high + slack) * step)
        to_scale = None
        if ctx.needs_input_grad[1]:
            # sum(gradient * (out - inside * x)) / scale: what is rounded moves by its error, what is clipped by itself.
            total = torch.dot(gradient.reshape(-1), out.reshape(-1)) - torch.dot(inside.reshape(-1), x.reshape(-1))
            to_scale = (total * (share / step)).reshape(scale.shape)
        return inside, to_scale, None, None, None, None


def round_clipped(x: Tensor, scale: Tensor, low: int, high: int, *, share: float = 1.0, slack: float = 0.0) -> Tensor:
    """``clip(rint(x / scale), low, high) * scale``, straight-through.

    Parameters
    ----------
    x
        Activations, of any shape.
    scale : shape (1,)
        Real value of one LSB.
    low, high
        Clip bounds (LSBs).
    share
        Factor of the scale's gradient.
    slack
        The gradient reaches x where ``low - slack < x / scale < high + slack``; it reaches the scale as the error of
        rounding there, as the bound elsewhere.
    """
    return _Round.apply(x.to(scale.dtype), scale, low, high, share, slack)


class _Clip(torch.autograd.Function):
    """See `clip_rounded`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, level: Tensor, scale: Tensor, low: int, high: int, factor: Tensor) -> Tensor:
        out = (x / scale).round_().clamp_(low, high).mul_(scale)
        ctx.save_for_backward(x, scale.clone(), out, factor)
        ctx.numbers = low, high
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = gradients
        x, scale, out, factor = ctx.saved_tensors
        low, high = ctx.numbers
        step = float(scale)
        inside = torch.ops.aten.hardtanh_backward(gradient, x, low * step, high * step)
        to_level = None
        if ctx.needs_input_grad[1]:
            clipped = gradient - inside
            if low:
                total = (clipped * torch.sign(x)).sum()
            else:  # what is clipped below has become 0
                total = torch.dot(clipped.reshape(-1), out.reshape(-1)) / (high * step)
            to_level = (factor * total).reshape(1)
        return inside, to_level, None, None, None, None


def clip_rounded(
    x: Tensor, level: Tensor, scale: Tensor, low: int, high: int, *, factor: float | Tensor = 1.0
) -> Tensor:
    """``clip(rint(x / scale), low, high) * scale``; a trained clipping level has the gradient of what is clipped.

    Parameters
    ----------
    x
        Activations, of any shape.
    level : shape (1,)
        What is trained; the gradients of values clipped above, less those clipped below zero, are added up for it.
    scale : shape (1,)
        Real value of one LSB, a constant.
    low, high
        Clip bounds (LSBs).
    factor
        Of the level's gradient.
    """
    return _Clip.apply(x.to(scale.dtype), level, scale.detach(), low, high, torch.as_tensor(factor, dtype=scale.dtype))
