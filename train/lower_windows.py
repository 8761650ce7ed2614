"""Lowering of what looks through windows: convolutions, poolings, paddings, slices."""

from dataclasses import replace
from typing import Any

import torch
from torch import fx, nn

from twofold.golden.network import Padding, Pair, windows_touch
from twofold.golden.parts import MOST_STEP
from twofold.golden.phases import axis_phases
from twofold.train.draft import Draft, Value
from twofold.train.graph import arguments, chw, is_shared, pair, result_shape
from twofold.train.lower_values import Values
from twofold.train.picks import arranged
from twofold.train.windows import adaptive_runs, around, pooling_runs

#: Lines added above, left, below and right.
Sides = tuple[int, int, int, int]
_NEVER = float("-inf")


class Windows(Values):
    """The part of `train.lower.Lowering` that knows windows."""

    def _rest(self, node: fx.Node, value: int) -> int | None:
        """What `train.graph.pair` is told: a number where the node's source is a series."""
        return value if self._dims(node) == 3 else None

    # Paddings

    def _solid(self, node: fx.Node, source: Value, sides: Sides) -> Value:
        """The source, a tensor of its own where lines that it left out would come back in the padding."""
        for axis in (0, 1):
            step, begin = source.stride[axis], source.begin[axis]
            returns = sides[axis] > 0 and begin + step <= 0
            after = source.shape[axis + 1] * step - begin
            if returns or (sides[axis + 2] > 0 and after < source.size[axis]):
                return self._kept(node, 0)
        return source

    def _framed(self, node: fx.Node, source: Value, sides: Sides, fill: float = 0.0) -> Value:
        """The source with lines around it, or less lines where sides are negative."""
        if source.fill != fill and not source.still:
            source = self._kept(node, 0)
        source = self._solid(node, source, sides)
        (top, left, bottom, right), (channels, height, width) = sides, source.shape
        begin = (source.begin[0] + top * source.stride[0], source.begin[1] + left * source.stride[1])
        shape = (channels, height + top + bottom, width + left + right)
        return replace(source, begin=begin, shape=shape, fill=fill)

    def _window(
        self, node: fx.Node, source: Value, kernel: Pair, stride: Pair, before: Pair, dilation: Pair, fill: float = 0.0
    ) -> tuple[Value, Padding]:
        """Source and padding of a layer that pads by so much above and left, and as its output needs elsewhere."""
        size = chw(node)[1:]
        bottom, right = (
            max(0, (count - 1) * step + dil * (taps - 1) + 1 - length - pad)
            for count, step, dil, taps, length, pad in zip(
                size, stride, dilation, kernel, source.shape[1:], before, strict=True
            )
        )
        source = self._framed(node, source, (*before, bottom, right), fill)
        return source, around(source.size, source.begin, size, kernel, stride, dilation)

    def _pad(self, node: fx.Node, pads: tuple[int, ...], mode: str, value: Any) -> Value:
        """`torch.nn.functional.pad`: pairs of numbers, the last axis first."""
        source, fill = self._operand(node, 0), float(value or 0)
        axes = self._dims(node)
        numbers = (*pads, *(0,) * (2 * axes - len(pads)))
        if axes == 3:
            numbers = (*numbers[:2], 0, 0, *numbers[2:])
        left, right, top, bottom, *others = numbers
        channels = others[:2]
        if source.flat or any(others[2:]) or (any(channels) and (min(channels) < 0 or fill)):
            raise ValueError(f"{self._where(node)}: pad must be around maps or add channels of zeros, not {pads!r}")
        if mode != "constant" or fill not in (0, _NEVER):
            raise ValueError(
                f"{self._where(node)}: pad must be with zeros, or minus infinity before a maximum, "
                f"not {mode!r} with {fill!r}"
            )
        framed = self._framed(node, source, (top, left, bottom, right), fill)
        return replace(
            framed,
            channel=framed.channel + channels[0],
            shape=chw(node),
            node=node,
            shared=framed.shared or is_shared(node),
        )

    def _call_pad(self, node: fx.Node) -> Value:
        pads, mode, value = arguments(node, pad=(), mode="constant", value=0)
        return self._pad(node, tuple(pads), mode, value)

    def _positions(self, node: fx.Node, index: tuple[Any, ...]) -> Value:
        """Some positions, at steps: `index` has a slice or a number for height and width, or for a series' length."""
        source, sizes = self._operand(node, 0), result_shape(node.args[0])[2:]
        single = [isinstance(item, int) for item in index]
        # A row is a series; a column lies the other way.
        good = single in ([True] * len(sizes), [True, False], [False] * len(index)) and len(index) <= len(sizes)
        if not good or any(isinstance(item, list) for item in index) or source.flat or source.channel:
            raise ValueError(f"{self._where(node)}: slice must be of channels or of positions, not {node.args[1]!r}")
        index = tuple(
            slice(item % size, item % size + 1) if isinstance(item, int) else item
            for item, size in zip(index, sizes, strict=False)
        )
        items = [item.indices(size) for item, size in zip(index, sizes, strict=False)]
        items += [(0, 1, 1)] * (len(sizes) - len(items))
        down, across = ((0, 1, 1), *items)[-2:]
        begin = (source.begin[0] - down[0] * source.stride[0], source.begin[1] - across[0] * source.stride[1])
        stride = (source.stride[0] * down[2], source.stride[1] * across[2])
        if 0 in result_shape(node):
            raise ValueError(f"{self._where(node)}: slice must leave positions, not {node.args[1]!r}")
        shape = (source.shape[0], *((1, 1) if all(single) else chw(node)[1:]))
        return self._alias(node, stride=stride, begin=begin, shape=shape, flat=all(single))

    # Convolutions

    def _conv(self, node: fx.Node, conv: nn.Conv1d | nn.Conv2d) -> Value:
        if conv.padding_mode != "zeros":
            raise ValueError(f"{self._where(node)}: padding_mode must be 'zeros', not {conv.padding_mode!r}")
        kernel, stride, dilation = (
            pair(numbers, self._rest(node, 1)) for numbers in (conv.kernel_size, conv.stride, conv.dilation)
        )
        if conv.padding == "same":
            before: Pair = ((kernel[0] - 1) * dilation[0] // 2, (kernel[1] - 1) * dilation[1] // 2)
        else:
            before = (0, 0) if conv.padding == "valid" else pair(conv.padding, self._rest(node, 0))
        source, padding = self._window(node, self._padded(node), kernel, stride, before, dilation)
        weight = conv.weight.detach().clone()
        weight = weight.reshape(*weight.shape[:2], *kernel)
        return self._convolved(node, conv, source, weight, stride=stride, padding=padding, dilation=dilation)

    def _transposed(self, node: fx.Node, conv: nn.ConvTranspose1d | nn.ConvTranspose2d) -> Value:
        kernel, stride, dilation = (
            pair(numbers, self._rest(node, 1)) for numbers in (conv.kernel_size, conv.stride, conv.dilation)
        )
        before, source, size = pair(conv.padding, self._rest(node, 0)), self._input(node), chw(node)[1:]
        try:
            for n in (0, 1):
                axis_phases(kernel[n], stride[n], before[n], dilation[n], size[n])
                if stride[n] > MOST_STEP:
                    raise ValueError(f"stride must be at most {MOST_STEP}, not {stride[n]!r}")
        except ValueError as error:
            raise ValueError(f"{self._where(node)}: {error}") from error
        weight = conv.weight.detach().clone()
        inputs, outputs = weight.shape[:2]
        weight = weight.reshape(conv.groups, inputs // conv.groups, outputs, *kernel).transpose(1, 2)
        weight = weight.reshape(conv.out_channels, inputs // conv.groups, *kernel).contiguous()
        geometry = {"stride": stride, "padding": before, "dilation": dilation, "transposed": True}
        return self._convolved(node, conv, source, weight, **geometry)

    def _convolved(
        self,
        node: fx.Node,
        conv: nn.Conv1d | nn.Conv2d | nn.ConvTranspose1d | nn.ConvTranspose2d,
        source: Value,
        weight: torch.Tensor,
        **geometry: Any,
    ) -> Value:
        """A convolution with these weights, shape (M, N / groups, Kh, Kw)."""
        reads, weight, order = arranged(source.picks, weight, conv.groups)
        bias = torch.zeros(conv.out_channels) if conv.bias is None else conv.bias.detach().clone()
        draft = Draft(
            self._name(node),
            "conv2d",
            chw(node),
            weight=weight,
            bias=bias[list(order)],
            reads=reads,
            geometry=geometry | {"groups": conv.groups},
        )
        self.drafts.append(draft)
        return self._result(node, draft, order=order)

    # Poolings

    def _max(self, node: fx.Node, kernel: Any, stride: Any, padding: Any, dilation: Any, indices: bool) -> Value:
        if indices:
            raise ValueError(f"{self._where(node)}: return_indices must be False, not True")
        window, before = pair(kernel, self._rest(node, 1)), pair(padding, self._rest(node, 0))
        step, dil = pair(stride or kernel, self._rest(node, 1)), pair(dilation, self._rest(node, 1))
        source = self._unfilled(node, self._padded(node), window, step, before, dil)
        source, sides = self._window(node, source, window, step, before, dil, _NEVER)
        return self._pooled(
            node, "maxpool", source, {"kernel": window, "stride": step, "padding": sides, "dilation": dil}
        )

    def _unfilled(
        self, node: fx.Node, source: Value, kernel: Pair, stride: Pair, before: Pair, dilation: Pair
    ) -> Value:
        """A maximum's source whose zeros around it may be left out, as they never exceed what is in every window."""
        if source.still or source.fill:
            return source
        begin = (source.begin[0] + before[0], source.begin[1] + before[1])
        inside = windows_touch(source.size, begin, chw(node)[1:], kernel, stride, dilation)
        return replace(source, fill=_NEVER) if inside and self._nonnegative(source) else self._kept(node, 0)

    def _average(
        self, node: fx.Node, kernel: Any, stride: Any, padding: Any, count_padding: bool, divisor: int | None
    ) -> Value:
        window, before = pair(kernel, self._rest(node, 1)), pair(padding, self._rest(node, 0))
        step = pair(stride or kernel, self._rest(node, 1))
        source = self._zeroed(node)
        source = self._solid(node, source, (*before, *before))
        size = chw(node)[1:]
        rows, columns = (
            pooling_runs(
                source.shape[axis + 1],
                window[axis],
                step[axis],
                before[axis],
                size[axis],
                count_padding=count_padding,
                before=source.begin[axis],
                divisor=divisor and (divisor, 1)[axis],
            )
            for axis in (0, 1)
        )
        return self._averaged(node, source, rows, columns)

    def _adaptive(self, node: fx.Node) -> Value:
        source, size = self._zeroed(node), chw(node)[1:]
        rows, columns = (
            adaptive_runs(source.shape[axis + 1], size[axis], before=source.begin[axis]) for axis in (0, 1)
        )
        return self._averaged(node, source, rows, columns)

    def _adaptive_max(self, node: fx.Node) -> Value:
        sizes = self._input(node).shape[1:]
        size = (*([1] * (4 - self._dims(node))), *result_shape(node)[2:])
        if any(length % outputs for length, outputs in zip(sizes, size, strict=True)):
            raise ValueError(f"{self._where(node)}: output size must divide {sizes!r}, not be {size!r}")
        kernel = (sizes[0] // size[0], sizes[1] // size[1])
        return self._largest(node, kernel)

    def _largest(self, node: fx.Node, kernel: Pair) -> Value:
        """The maximum of windows side by side."""
        pooled = self._pooled(node, "maxpool", self._input(node), {"kernel": kernel, "stride": kernel})
        return replace(pooled, flat=len(result_shape(node)) == 2)

    def _amax(self, node: fx.Node) -> Value:
        self._check_over_positions(node, "maximum")
        return self._largest(node, self._input(node).shape[1:])

    def _sum_over(self, node: fx.Node) -> Value:
        self._check_over_positions(node, "sum")
        source = self._zeroed(node)
        rows, columns = (
            pooling_runs(length, length, length, 0, 1, before=begin, divisor=1)
            for length, begin in zip(source.shape[1:], source.begin, strict=True)
        )
        return self._averaged(node, source, rows, columns)

    def _mean(self, node: fx.Node) -> Value:
        self._check_over_positions(node, "mean")
        return self._adaptive(node)

    def _check_over_positions(self, node: fx.Node, what: str) -> None:
        """Refuse to reduce anything but height and width."""
        dims: Any = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim")
        axes = self._dims(node)
        numbers = dims if isinstance(dims, (tuple, list)) else [dims]
        good = all(isinstance(number, int) for number in numbers)
        if axes == 2 or not good or sorted(number % axes for number in numbers) != list(range(2, axes)):
            raise ValueError(f"{self._where(node)}: {what} must be over height and width, not over {dims!r}")

    def _zeroed(self, node: fx.Node) -> Value:
        """The node's source, which may be padded with zeros around its map."""
        source = self._padded(node)
        return self._kept(node, 0) if source.fill else source

    def _averaged(self, node: fx.Node, source: Value, rows: Any, columns: Any) -> Value:
        pooled = self._pooled(node, "avgpool", source, {"rows": rows, "columns": columns})
        return replace(pooled, flat=len(result_shape(node)) == 2)

    def _pooled(
        self, node: fx.Node, kind: str, source: Value, geometry: dict[str, Any], size: Pair | None = None
    ) -> Value:
        """A pooling of each of the source's tensors, to the node's size or another one."""

        def make(part: Value) -> Draft:
            draft = Draft(
                self._name(node),
                kind,
                (part.shape[0], *(size or chw(node)[1:])),
                reads=(part.picks[0].read,),
                nonnegative=self._nonnegative(part),
                geometry=geometry,
            )
            self.drafts.append(draft)
            return draft

        return self._each(node, source, make)

    # Functions

    def _call_max_pool(self, node: fx.Node) -> Value:
        kernel, stride, padding, dilation, _, indices = arguments(
            node, kernel_size=None, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False
        )
        return self._max(node, kernel, stride, padding, dilation, indices)

    def _call_average(self, node: fx.Node) -> Value:
        kernel, stride, padding, _, count_padding, divisor = arguments(
            node,
            kernel_size=None,
            stride=None,
            padding=0,
            ceil_mode=False,
            count_include_pad=True,
            divisor_override=None,
        )
        return self._average(node, kernel, stride, padding, count_padding, divisor)
