"""Mixture of clipped roundings of activations, in one pass over memory forward and one backward.

Member by member, PyTorch writes each rounding, its product with its share and the sum to memory, and keeps most of
them for the way back. Here all members go through one compiled loop or, where there is no compiler or too little to
compute, a block that fits the cache goes through all members; and only the input is kept: on the way back, roundings
are computed anew.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from twofold.train.quantizers.fused import functions

#: Numbers of a block: a few of them fit a core's second-level cache.
BLOCK = 1 << 16


class _Blend(torch.autograd.Function):
    """See `blend_rounded`."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, shares: Tensor, levels: Tensor | None, scales: Tensor, bounds: Sequence[tuple[int, int]]
    ) -> Tensor:
        x = x.contiguous()
        ctx.save_for_backward(x, shares, scales.clone())
        ctx.bounds = tuple(bounds)
        fused = functions(x)
        if fused is not None:
            return fused[0](x.view(-1), scales, shares * scales, *_ends(bounds, scales)).view_as(x)
        factors = (shares * scales).tolist()
        out = torch.empty_like(x)
        for source, result, rounded in _blocks(x, out, spare=1):
            for k, (low, high) in enumerate(bounds):
                torch.div(source, scales[k], out=rounded).round_().clamp_(low, high)
                _add(result, rounded, factors[k], first=not k)
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, shares, scales = ctx.saved_tensors
        gradient, trained = gradients[0].contiguous(), ctx.needs_input_grad[2]
        fused = functions(x)
        if fused is not None:
            ends = _ends(ctx.bounds, scales)
            to_x, products, clipped = fused[1](x.view(-1), gradient.view(-1), scales, shares, *ends)
        else:
            to_x, products, clipped = _backward_by_blocks(x, gradient, scales, shares, ctx.bounds, trained)
        return to_x.view_as(x), products * scales, clipped * shares if trained else None, None, None


def _backward_by_blocks(
    x: Tensor, gradient: Tensor, scales: Tensor, shares: Tensor, bounds: Sequence[tuple[int, int]], trained: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """As `train.quantizers.fused.gradients`; the last is empty where levels are not trained."""
    parts = shares.tolist()
    ends = [(low * s, high * s) for (low, high), s in zip(bounds, scales.tolist(), strict=True)]
    # Members of the same range pass the gradient together.
    same = [bool(k) and _near(ends[k], ends[k - 1]) for k in range(len(ends))]
    passed = [sum(parts[k : _next(same, k)]) for k in range(len(ends))]
    to_x = torch.empty_like(x)
    products: list[Tensor] = []
    clipped: list[Tensor] = []
    for source, incoming, result, rounded, inside in _blocks(x, gradient, to_x, spare=2):
        for k, (low, high) in enumerate(bounds):
            torch.div(source, scales[k], out=rounded).round_().clamp_(low, high)
            products.append(torch.dot(incoming, rounded))
            if not same[k]:
                torch.ops.aten.hardtanh_backward.grad_input(incoming, source, *ends[k], grad_input=inside)
                _add(result, inside, passed[k], first=not k)
            if trained and low:
                clipped.append(torch.dot(incoming - inside, torch.sign(source)))
            elif trained:  # what is clipped below has become 0
                clipped.append((products[-1] - torch.dot(inside, rounded)) / high)
    sums = (torch.stack(part).view(-1, len(bounds)).sum(0) if part else scales[:0] for part in (products, clipped))
    return (to_x, *sums)  # type: ignore[return-value]


def _ends(bounds: Sequence[tuple[int, int]], like: Tensor) -> tuple[Tensor, Tensor]:
    low, high = like.new_tensor(bounds).unbind(1)
    return low, high


def _near(one: tuple[float, float], other: tuple[float, float]) -> bool:
    """Whether two ranges are the same but for rounding."""
    return all(abs(a - b) <= 1e-6 * abs(b) for a, b in zip(one, other, strict=True))


def _next(same: list[bool], k: int) -> int:
    """Place behind the last member of the range of member k."""
    return next((n for n in range(k + 1, len(same)) if not same[n]), len(same))


def _add(result: Tensor, values: Tensor, factor: float, *, first: bool) -> None:
    if first:
        torch.mul(values, factor, out=result)
    else:
        result.add_(values, alpha=factor)


def _blocks(*tensors: Tensor, spare: int) -> Iterator[tuple[Tensor, ...]]:
    """The same block of each tensor, and of some spare ones."""
    more = tensors[0].new_empty(spare, min(BLOCK, tensors[0].numel()))
    for parts in zip(*(tensor.view(-1).split(BLOCK) for tensor in tensors), strict=True):
        yield (*parts, *more[:, : len(parts[0])])


def blend_rounded(
    x: Tensor, shares: Tensor, scales: Tensor, bounds: Sequence[tuple[int, int]], levels: Tensor | None = None
) -> Tensor:
    """``sum(share * clip(rint(x / scale), low, high) * scale)`` over the members, straight-through.

    Parameters
    ----------
    x
        Activations, of any shape.
    shares : shape (K,)
        Share of each member.
    scales : shape (K,)
        Real value of one LSB of each, constants.
    bounds
        Clip bounds of each (LSBs): a low of 0 makes negatives 0.
    levels : shape (K,)
        Clipping levels that are trained: each has the gradients of what is clipped above, less those of what is clipped
        below zero, times its share (`train.quantizers.rounding.clip_rounded`).
    """
    return _Blend.apply(x.to(scales.dtype), shares, levels, scales.detach(), tuple(bounds))
