"""Lowering of upsampling and pixel shuffle."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import torch
from torch import fx, nn

from twofold.golden.network import Pair
from twofold.golden.parts import MOST_STEP
from twofold.train.between import Lines, lines_between
from twofold.train.draft import Draft, Value
from twofold.train.graph import arguments, chw, result_shape
from twofold.train.lower_norm import Norms
from twofold.train.skip import Read

_NEAREST = ("nearest", "nearest-exact")
_LINEAR = ("linear", "bilinear")
#: Parts of a layer, at most: beyond, rows and columns are layers of their own.
MOST_PARTS = 64


class Resizes(Norms):
    """The part of `train.lower.Lowering` that knows other positions."""

    def _upsample(self, node: fx.Node, layer: nn.Upsample) -> Value:
        scale = None if layer.recompute_scale_factor else layer.scale_factor
        return self._upsampled(node, layer.mode, scale, corners=bool(layer.align_corners))

    def _upsampled(self, node: fx.Node, mode: Any, scale: Any, *, corners: bool = False) -> Value:
        if mode not in _NEAREST + _LINEAR:
            raise ValueError(f"{self._where(node)}: mode must be 'nearest', 'linear' or 'bilinear', not {mode!r}")
        source, size = self._input(node), chw(node)[1:]
        inner = source.shape[1:]
        if size == inner:
            return self._alias(node)
        if size[0] < inner[0] or size[1] < inner[1]:
            raise ValueError(f"{self._where(node)}: size must be at least {inner!r} (upsampling only), not {size!r}")
        factor = (size[0] // inner[0], size[1] // inner[1])
        whole = size == (factor[0] * inner[0], factor[1] * inner[1])
        # One input, spread over all outputs, is the same by every rule.
        spread = all(outputs == length or length == 1 for outputs, length in zip(size, inner, strict=True))
        if mode in _NEAREST and not spread:
            if whole and max(factor) <= MOST_STEP:
                return self._pooled(node, "resize", source, {"factor": factor})
            raise ValueError(
                f"{self._where(node)}: size must be 1 to {MOST_STEP} times {inner!r} to the nearest, not {size!r}"
            )
        if not corners:
            self._check_scale(node, inner, size, scale)
        return self._interpolated(
            node, source, [lines_between(n, m, corners=corners) for n, m in zip(inner, size, strict=True)]
        )

    def _check_scale(self, node: fx.Node, inner: Pair, size: Pair, scale: Any) -> None:
        """See that a factor gives that size exactly: what it gives rounded is not what positions follow from."""
        if scale is None:
            return
        given = [float(one) for one in scale] if isinstance(scale, Sequence) else [float(scale)]
        factors = (given[0], given[-1]) if self._dims(node) == 4 else (1.0, given[0])
        if any(length * factor != outputs for length, factor, outputs in zip(inner, factors, size, strict=True)):
            raise ValueError(f"{self._where(node)}: scale_factor must give a whole size of {inner!r}, not {scale!r}")

    def _interpolated(self, node: fx.Node, source: Value, axes: list[Lines]) -> Value:
        """Means of neighbours, in one layer, or where that has too many parts first of rows, then of columns."""
        rows, columns = axes
        if min(len(rows.runs), len(columns.runs)) > 1 and len(rows.runs) * len(columns.runs) > MOST_PARTS:
            height, width = chw(node)[1], source.shape[2]
            first = {"rows": rows, "columns": Lines.same(width)}
            source, rows = self._pooled(node, "bilinear", source, first, (height, width)), Lines.same(height)
        return self._pooled(node, "bilinear", source, {"rows": rows, "columns": columns})

    def _pixels(self, node: fx.Node, factor: Pair) -> Value:
        """Channels at positions beside each other: as many of them as `factor` says become a map's."""
        source = self._input(node)
        if max(factor) > MOST_STEP:
            raise ValueError(f"{self._where(node)}: factor must be at most {MOST_STEP}, not {max(factor)!r}")
        read = source.picks[0].read if len(source.picks) == 1 else Read(self._sum(node, source).name)
        draft = Draft(
            self._name(node),
            "resize",
            chw(node),
            reads=(read,),
            nonnegative=self._nonnegative(source),
            geometry={"factor": factor, "shuffled": True},
        )
        self.drafts.append(draft)
        return self._result(node, draft)

    def _unfolded(self, node: fx.Node, shape: tuple[int, ...]) -> Value:
        return self._pixels(node, (shape[2], shape[3]))

    def _unshuffled(self, node: fx.Node, factor: int) -> Value:
        """Channels of every `factor`-th position along each axis, side by side: one copy."""
        source, size = self._input(node), chw(node)[1:]
        parts = [
            replace(source, stride=(factor, factor), begin=(-down, -across), shape=(source.channels, *size))
            for down, across in product(range(factor), repeat=2)
        ]
        parts = [replace(part, channel=number * source.channels) for number, part in enumerate(parts)]
        draft = self._sum(node, *parts, copies=len(source.picks) == 1)
        draft.shape = chw(node)
        numbers = torch.arange(draft.shape[0]).reshape(source.channels, -1).T.flatten()
        return self._result(node, draft, order=tuple(numbers.tolist()))

    def _call_pixel_unshuffle(self, node: fx.Node) -> Value:
        (factor,) = arguments(node, downscale_factor=1)
        return self._unshuffled(node, factor)

    def _call_repeat_interleave(self, node: fx.Node) -> Value:
        times, dim = arguments(node, repeats=1, dim=None)
        axis = dim % self._dims(node) - self._dims(node) if isinstance(dim, int) else None
        if axis not in (-1, -2) or self._dims(node) + axis < 2 or not isinstance(times, int) or times > MOST_STEP:
            return self._moved_like(node)
        factor = (times, 1) if axis == -2 else (1, times)
        return self._pooled(node, "resize", self._input(node), {"factor": factor})

    def _spread(self, node: fx.Node, source: Value) -> Value:
        """Maps of one row or column, the same at each of the node's."""
        lines = [lines_between(n, m, corners=False) for n, m in zip(source.shape[1:], chw(node)[1:], strict=True)]
        return self._interpolated(node, source, lines)

    def _call_expand(self, node: fx.Node) -> Value:
        source, before, after = self._operand(node, 0, split=True), result_shape(node.args[0]), result_shape(node)
        if source.split or before[:2] != after[:2] or len(before) != len(after):
            return self._moved_like(node)
        return self._alias(node) if before == after else self._spread(node, self._input(node))

    def _call_interpolate(self, node: fx.Node) -> Value:
        _, scale, mode, corners, again, smooth = arguments(
            node,
            size=None,
            scale_factor=None,
            mode="nearest",
            align_corners=None,
            recompute_scale_factor=None,
            antialias=False,
        )
        if smooth:
            raise ValueError(f"{self._where(node)}: antialias must be False, not {smooth!r}")
        return self._upsampled(node, mode, None if again else scale, corners=bool(corners))

    def _call_nearest(self, node: fx.Node) -> Value:
        return self._upsampled(node, "nearest", None)

    def _call_linear(self, node: fx.Node) -> Value:
        """ATen's, whose scales are one list or a number an axis."""
        _, corners, scale, across = arguments(
            node, output_size=None, align_corners=False, scale_factors=None, scales_w=None
        )
        return self._upsampled(node, "bilinear", scale if across is None else (scale, across), corners=corners)

    def _call_pixel_shuffle(self, node: fx.Node) -> Value:
        (factor,) = arguments(node, upscale_factor=1)
        return self._pixels(node, (factor, factor))
