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
