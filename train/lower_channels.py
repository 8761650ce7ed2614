"""Lowering of what only moves channels: concatenations, parts, slices and shuffles. No layer comes of it."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, fx

from twofold.train.draft import Value
from twofold.train.graph import BATCH, arguments, called, is_shared, result_shape
from twofold.train.lower_windows import Windows
from twofold.train.picks import chosen, joined

_ALL = slice(None)


class Channels(Windows):
    """The part of `train.lower.Lowering` that knows channels."""

    def _listed(self, node: fx.Node) -> Value:
        """The node's source, a list of channels of tensors."""
        value = self._operand(node, 0, split=True)
        if value.shape[0] != value.channels:
            value = self._kept(node, 0)
        if value.flat and value.shape[1:] != (1, 1):
            raise ValueError(f"{self._where(node)} must take channels, not a flattened map of shape {value.shape!r}")
        return value

    @staticmethod
    def _numbers(value: Value) -> Tensor:
        """Numbers of the value's channels, along as many axes as the model has for them."""
        return torch.arange(value.channels).reshape(value.split or (value.channels,))

    def _moved(self, node: fx.Node, value: Value, numbers: Tensor) -> Value:
        """The channels of these numbers, along as many axes."""
        return replace(
            value,
            picks=chosen(value.picks, numbers.flatten().tolist()),
            shape=(numbers.numel(), *value.shape[1:]),
            split=tuple(numbers.shape) if numbers.dim() > 1 else (),
            shared=value.shared or is_shared(node),
            node=node,
        )

    def _axis(self, node: fx.Node, value: Value, dim: int) -> int:
        """Which of the axes of channels a dimension is."""
        axes = max(1, len(value.split))
        place = dim % self._dims(node)
        if not 1 <= place <= axes:
            raise ValueError(f"{self._where(node)} must be along channels, dimension 1, not {dim!r}")
        return place - 1

    # Concatenations

    def _call_cat(self, node: fx.Node) -> Value:
        values, (dim,) = self._list(node), arguments(node, dim=0)
        if dim % len(result_shape(node)) != 1:
            raise ValueError(f"{self._where(node)} must be along channels, dimension 1, not {dim!r}")
        return self._joined(node, values)

    def _list(self, node: fx.Node) -> list[Value]:
        """The tensors of a list, which is the node's first argument."""
        given = node.args[0] if node.args else node.kwargs["tensors"]
        values = self.parts.get(given) if isinstance(given, fx.Node) else None
        if values is not None:
            return values
        if not isinstance(given, Sequence) or not given:
            raise ValueError(f"{self._where(node)} must take a list of tensors, not {given!r}")
        return [self._still(node, one) for one in given]

    def _joined(self, node: fx.Node, values: Sequence[Value]) -> Value:
        """The channels of several values, one after the other."""
        sizes = list(dict.fromkeys(value.shape[1:] for value in values))
        if len(sizes) > 1 or any(value.split for value in values):
            raise ValueError(f"{self._where(node)} must take tensors of one size, not {sizes!r}")
        picks = joined(replace(pick, shared=pick.shared or value.shared) for value in values for pick in value.picks)
        shape = (sum(value.channels for value in values), *sizes[0])
        return Value(picks, sizes[0], shape, shared=is_shared(node), flat=values[0].flat, node=node)

    def _call_stack(self, node: fx.Node) -> Value:
        values, (dim,) = self._list(node), arguments(node, dim=0)
        if dim % len(result_shape(node)) not in (1, 2):
            raise ValueError(f"{self._where(node)} must be along channels, dimension 1 or 2, not {dim!r}")
        whole = self._joined(node, values)
        rows = torch.arange(whole.channels).reshape(len(values), -1)
        return self._moved(node, whole, rows if dim % len(result_shape(node)) == 1 else rows.T)

    # Parts

    def _call_parts(self, node: fx.Node) -> list[Value]:
        """`chunk`, `split`, `tensor_split`, `unbind`."""
        value, name = self._listed(node), called(node)
        others = [*node.args[1:], *(given for key, given in node.kwargs.items() if key != "dim")]
        most = 0 if name == "unbind" else 1
        dim: Any = node.kwargs.get("dim", others[most] if len(others) > most else 0)
        axis = self._axis(node, value, dim)
        parts = getattr(torch, name)(self._numbers(value), *others[:most], dim=axis)
        shared = replace(value, shared=value.shared or is_shared(node))
        if not all(part.dim() for part in parts):
            raise ValueError(f"{self._where(node)} must leave an axis of channels, not none")
        return [self._moved(node, shared, part) for part in parts]

    def _call_getitem(self, node: fx.Node) -> Value | list[Value]:
        source: Any = node.args[0]
        index: Any = node.args[1]
        if source in self.parts:
            parts = self.parts[source][index]
            if isinstance(parts, list):
                return parts
            return replace(parts, shared=parts.shared or is_shared(node), node=node)
        value = self._operand(node, 0, split=True)
        index = index if isinstance(index, tuple) else (index,)
        if any(item is None for item in index):
            return self._moved_like(node)
        items = self._items(node, index)
        axes = max(1, len(value.split))
        if items[0] != _ALL:
            raise ValueError(f"{self._where(node)}: slice must be of channels or of positions, not {index!r}")
        if any(item != _ALL for item in items[1 + axes :]):
            value = self._positions(node, tuple(items[1 + axes :]))
        if all(item == _ALL for item in items[1 : 1 + axes]):
            return self._alias(node, stride=value.stride, begin=value.begin, shape=value.shape, flat=value.flat)
        if value.shape[0] != value.channels or (value.flat and value.shape[1:] != (1, 1)):
            value = self._listed(node)
        numbers = self._numbers(value)[tuple(items[1 : 1 + axes])]
        if not numbers.dim() or not numbers.numel():
            raise ValueError(f"{self._where(node)}: slice must leave channels along an axis, not {index!r}")
        return self._moved(node, value, numbers)

    def _items(self, node: fx.Node, index: tuple[Any, ...]) -> list[Any]:
        """An index with an item for each dimension; slices of all are alike."""
        dims = self._dims(node)
        index = tuple(self.constants[item].tolist() if self._known(item) else item for item in index)
        if Ellipsis in [item for item in index if not isinstance(item, (list, Tensor))]:
            place = index.index(Ellipsis)
            index = (*index[:place], *[_ALL] * (dims - len(index) + 1), *index[place + 1 :])
        good = all(isinstance(item, (int, slice, list)) and not isinstance(item, bool) for item in index)
        if not good or len(index) > dims:
            raise ValueError(f"{self._where(node)}: slice must be of channels or of positions, not {index!r}")
        items = [*index, *[_ALL] * (dims - len(index))]
        sizes = result_shape(node.args[0])
        whole = [
            isinstance(item, slice) and item.indices(size) == (0, size, 1)
            for item, size in zip(items, sizes, strict=True)
        ]
        return [
            _ALL if item == _ALL or (n and all_of_it) else item
            for n, (item, all_of_it) in enumerate(zip(items, whole, strict=True))
        ]

    def _known(self, item: Any) -> bool:
        return isinstance(item, fx.Node) and item in self.constants

    # Shuffles

    def _call_shuffle(self, node: fx.Node) -> Value:
        (groups,) = arguments(node, groups=1)
        return self._shuffled(node, groups)

    def _shuffled(self, node: fx.Node, groups: int) -> Value:
        value = self._listed(node)
        return self._moved(node, value, self._numbers(value).reshape(groups, -1).T.flatten())

    def _reshaped(self, node: fx.Node) -> Value:
        """Another number of axes of channels; positions as they are."""
        value, before, after = self._operand(node, 0, split=True), result_shape(node.args[0]), result_shape(node)
        if value.flat and value.shape[1:] == (1, 1):
            return self._unfolded(node, after) if len(after) == 4 and after[2:] != (1, 1) else self._moved_like(node)
        axes = max(1, len(value.split))
        positions = before[1 + axes :]
        split = after[1 : len(after) - len(positions)]
        same = len(split) > 0 and after[len(after) - len(positions) :] == positions
        if after[0] != BATCH or not same or value.flat or value.channel:
            raise ValueError(
                f"{self._where(node)}: view must be to (batch, -1) or of the axis of channels, not to {after!r}"
            )
        value = self._listed(node)
        return self._moved(node, value, torch.arange(value.channels).reshape(split))

    def _unfolded(self, node: fx.Node, shape: tuple[int, ...]) -> Value:
        """Maps of a vector; the part of `train.lower_resize.Resizes`."""
        raise NotImplementedError

    def _call_transpose(self, node: fx.Node) -> Value:
        first, second = arguments(node, dim0=0, dim1=0)
        order = list(range(self._dims(node)))
        order[first], order[second] = order[second], order[first]
        return self._permuted(node, order)

    def _call_permute(self, node: fx.Node) -> Value:
        dims: Any = node.args[1] if len(node.args) == 2 and not isinstance(node.args[1], int) else node.args[1:]
        return self._permuted(node, list(node.kwargs.get("dims", dims)))

    def _permuted(self, node: fx.Node, order: list[int]) -> Value:
        value, dims = self._listed(node), self._dims(node)
        places, axes = [place % dims for place in order], max(1, len(value.split))
        if places[0] != 0 or places[1 + axes :] != list(range(1 + axes, dims)):
            raise ValueError(f"{self._where(node)} must move axes of channels only, not {tuple(order)!r}")
        return self._moved(node, value, self._numbers(value).permute([place - 1 for place in places[1 : 1 + axes]]))

    # Anything else

    def _moved_like(self, node: fx.Node) -> Value:
        """What only moves, repeats or leaves out channels, as it moves numbers; or has no positions, and other axes."""
        value, before, after = self._listed(node), result_shape(node.args[0]), result_shape(node)
        positions = before[1 + max(1, len(value.split)) :]
        size, whole = math.prod(positions), math.prod(before[1:])
        numbers = torch.arange(BATCH * whole).reshape(before)
        args, kwargs = fx.map_arg((node.args[1:], node.kwargs), self.constants.__getitem__)
        call: Any = getattr(Tensor, node.target) if isinstance(node.target, str) else node.target
        result = call(numbers, *args, **kwargs)
        split = after[1:] if size == 1 else after[1 : len(after) - len(positions)]
        same = size == 1 or (len(split) > 0 and after[len(after) - len(positions) :] == positions)
        firsts = result[0].reshape(-1, size)[:, :1] if same else result[:0]
        images = torch.arange(BATCH).reshape(-1, 1, 1) * whole
        if not same or not torch.equal(result.reshape(BATCH, -1, size), images + firsts + torch.arange(size)):
            raise ValueError(f"{self._where(node)} must move channels only, not give {after!r} of {before!r}")
        if size == 1 and all(length == 1 for length in after[2:]) and len(after) <= 4:
            split, value = after[1:2], replace(value, flat=len(after) == 2)
        return self._moved(node, value, firsts.reshape(split) // size)
