"""Lowering of what a model returns: the layers that give it, and the order that its values have there."""

from collections.abc import Callable, Container, Set
from dataclasses import replace
from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx

from twofold.golden.order import Order, order_of
from twofold.train.compare import Reference
from twofold.train.draft import Draft, Value
from twofold.train.fold import fold_ahead
from twofold.train.formula import Formula
from twofold.train.graph import BATCH, DROPOUTS, SAME, called, is_shared, result_shape
from twofold.train.layers import QuantLayer
from twofold.train.lower_sums import Sums
from twofold.train.outputs import Join, flattened
from twofold.train.picks import chosen
from twofold.train.pointwise import FUNCTIONS

#: What gives the same values in another order or shape, or some of them, or in parts.
MOVES = (
    *("permute", "transpose", "swapaxes", "swapdims", "movedim", "moveaxis", "view", "reshape", "_unsafe_view"),
    *("flatten", "unflatten", "squeeze", "unsqueeze", "Flatten", "Unflatten"),
    *("getitem", "chunk", "split", "split_with_sizes", "tensor_split", "unbind", "narrow"),
)
#: Those that move whole axes.
AXES = ("permute", "transpose", "swapaxes", "swapdims", "movedim", "moveaxis")
#: What gives the same values where they are.
STILL = (*SAME, *DROPOUTS, "Identity")
#: What puts several tensors together.
JOINS = ("cat", "concat", "concatenate")
#: What looks at each number by itself, so that it may come before positions are moved.
POINTWISE = frozenset(
    name.replace("_", "") for name in (*FUNCTIONS, "relu", "relu6", "clamp", "clip", "clamp_min", "clamp_max")
)
#: What hosts do with a network's results.
HOSTS = ("softmax", "logsoftmax", "softmin", "argmax", "argmin", "topk", "sort")


class HostValue(NamedTuple):
    """Values of a node that the network has, in another order: where they were, images one after the other.

    `reason` says why the network has no layer for it; `shared`: more than one operation takes them.
    """

    node: fx.Node
    numbers: Any
    reason: ValueError
    shared: bool = False


class HostParts(NamedTuple):
    """Values of several nodes, one behind the other along a dimension."""

    parts: tuple[HostValue, ...]
    dim: int


def is_pointwise(node: fx.Node, name: str) -> bool:
    """Whether a node of that name is a function of each number of one tensor."""
    known = isinstance(node.target, Formula) or name.lower().replace("_", "") in POINTWISE
    return known and len(node.all_input_nodes) == 1


def is_hosts(name: str) -> bool:
    """Whether an operation or layer of that name is the host's to do."""
    return name.lower().replace("_", "") in HOSTS


class Ends(Sums):
    """The part of `train.lower.Lowering` that knows what the model returns."""

    reference: Reference
    input_shape: tuple[int, int, int]
    heads: tuple[tuple[str, Order], ...] = ()
    structure = flattened(())[1]

    def __init__(self, graph: fx.GraphModule, *, signed: bool):
        super().__init__(graph, signed=signed)
        #: What only the host sees: values behind the first operation that moves positions, and what they are of.
        self.moved: dict[fx.Node, HostValue] = {}
        self.joined: dict[fx.Node, HostParts] = {}

    @property
    def host(self) -> Set[fx.Node]:
        """Nodes that only the host sees."""
        return self.moved.keys() | self.joined.keys()

    def _moves_to_end(self, node: fx.Node) -> bool:
        """Whether nothing but the order and the shape of results comes of a node."""
        if node.op == "output":
            return True
        name = self._called(node)
        if is_hosts(name):
            return all(user.op == "output" for user in node.users)
        users = [user for user in node.users if "tensor_meta" in user.meta or user.op == "output"]
        known = name in (*MOVES, *JOINS, *STILL, "stack") or is_pointwise(node, name)
        return known and all(self._moves_to_end(user) for user in users)

    def _called(self, node: fx.Node) -> str:
        if node.op == "call_module":
            return type(self.graph.get_submodule(str(node.target))).__name__
        return called(node)

    def _begin_end(self, node: fx.Node, reason: ValueError) -> None:
        """Have a node, for which there is no layer, be what the host makes of a value."""
        source: Any = node.args[0] if node.args else None
        if self._called(node) in JOINS:
            return self._join(node, f"{reason}; at the end it")
        if self._called(node) == "stack":
            raise ValueError(f"{reason}; leave the end's order to the host: return what it takes") from reason
        if is_hosts(self._called(node)) or not isinstance(source, fx.Node) or source not in self.values:
            raise reason
        whole = prod(result_shape(source))
        numbers = torch.arange(whole).reshape(result_shape(source))
        self.moved[source] = HostValue(source, numbers, reason, is_shared(source))
        self._move(node)

    def _move(self, node: fx.Node) -> None:
        """Move numbers as a node moves what the host sees."""
        name, where = self._called(node), self._where(node)
        if name in JOINS:
            return self._join(node, f"{where}: {name} at the end")
        if name == "stack":
            raise ValueError(f"{where}: stack behind moved positions must be left to the host: return what it takes")
        if is_hosts(name):
            raise ValueError(f"{where} must be left to the host, which gets what it takes, not be {name!r}")
        behind = next((source for source in node.all_input_nodes if source in self.joined), None)
        if behind is not None:
            return self._move_parts(node, behind)
        source = self.moved[next(source for source in node.all_input_nodes if source in self.moved)]
        source = source._replace(shared=source.shared or is_shared(node))
        if is_pointwise(node, name):
            self.moved[node] = source._replace(node=self._before_moves(node, source))
        elif name in (*MOVES, *STILL):
            numbers = self._called_with(node, self._number) if name in MOVES else self._number(node.all_input_nodes[0])
            self.moved[node] = source._replace(numbers=numbers)
        else:
            raise ValueError(f"{where} must come before positions are moved, or be left to the host, not be {name!r}")

    def _join(self, node: fx.Node, what: str) -> None:
        """Have a node be the results of several, which the host puts together."""
        given: dict[str, Any] = dict(zip(("tensors", "dim"), node.args, strict=False)) | dict(node.kwargs)
        parts, dim = given["tensors"], given.get("dim", given.get("axis", 0)) % len(result_shape(node))
        if dim == 0:
            raise ValueError(f"{what} must keep images apart, not put them together along dimension 0")
        if isinstance(parts, fx.Node):
            raise ValueError(f"{what} must put whole channels together, each position once, not parts of one result")
        found: list[HostValue] = []
        for part in parts:
            inner = self.joined.get(part)
            if inner is not None and inner.dim != dim:
                raise ValueError(f"{what} must put results together along one dimension, not {inner.dim} and {dim}")
            if inner is None and part not in self.moved and part not in self.values:
                raise ValueError(f"{what} must put results together, not a constant")
            found += [self._seen(part)] if inner is None else inner.parts
        self.joined[node] = HostParts(tuple(found), dim)

    def _seen(self, node: fx.Node) -> HostValue:
        """What the host sees of a node's values: in their order, if nothing has moved them."""
        if node in self.moved:
            return self.moved[node]
        shape = result_shape(node)
        reason = ValueError(f"{self._where(node)} must be one result of the network")
        return HostValue(node, torch.arange(prod(shape)).reshape(shape), reason, is_shared(node))

    def _move_parts(self, node: fx.Node, behind: fx.Node) -> None:
        """Have what comes behind results that are put together come before, part by part."""
        name, (parts, dim) = self._called(node), self.joined[behind]
        if is_pointwise(node, name):
            parts = tuple(part._replace(node=self._before_moves(node, part)) for part in parts)
        elif name in AXES:
            shape = range(2, 2 + len(result_shape(behind)))
            dim = self._called_with(node, {behind: torch.empty(*shape)}.__getitem__).shape.index(shape[dim])
            moved = [self._called_with(node, {behind: part.numbers}.__getitem__) for part in parts]
            parts = tuple(part._replace(numbers=numbers) for part, numbers in zip(parts, moved, strict=True))
        elif name not in STILL:
            where = self._where(node)
            raise ValueError(f"{where} must come before results are put together, or be the host's, not be {name!r}")
        self.joined[node] = HostParts(parts, dim)

    def _before_moves(self, node: fx.Node, source: HostValue) -> fx.Node:
        """A node with a function of the values as they are before they are moved."""
        with self.graph.graph.inserting_before(node):
            args = (source.node, *node.args[1:])
            same = self.graph.graph.create_node(node.op, node.target, args, node.kwargs, node.name)
        same.meta = node.meta | {"tensor_meta": source.node.meta["tensor_meta"]}
        given = {source.node: self.reference.values[source.node].clone()}
        self.reference.values[same] = self._called_with(same, given.__getitem__)
        value = self.values[source.node]
        self.values[source.node] = replace(value, split=(), shared=value.shared or source.shared)
        self._keep(same, self._lower(same))
        self.values[source.node] = value
        return same

    def _lower(self, node: fx.Node) -> Value | list[Value]:
        """What a node stands for; the part of `train.lower.Lowering`."""
        raise NotImplementedError

    def _called_with(self, node: fx.Node, given: Callable[[fx.Node], Any]) -> Any:
        """What a node gives where others give this."""
        args, kwargs = fx.map_arg((node.args, node.kwargs), given)
        target: Any = node.target
        if node.op == "call_module":
            return self.graph.get_submodule(str(target))(*args)
        return (getattr(Tensor, target) if isinstance(target, str) else target)(*args, **kwargs)

    def _number(self, source: fx.Node) -> Any:
        value = self.moved[source].numbers if source in self.moved else self.constants[source]
        # The model's own tensors are in the memory's order wherever `view` needs it.
        return value.contiguous() if isinstance(value, Tensor) else value

    def _end(self, node: fx.Node) -> list[QuantLayer]:
        heads, (leaves, self.structure) = flattened(node.args[0])[0], flattened(self.reference.wanted)
        if not heads or len(heads) != len(leaves):
            raise ValueError(f"Model must return tensors, in tuples, lists or tables, not {node.args[0]!r}")
        found: dict[str, Order] = {}
        joins = []
        for output in heads:
            parts, dim = self.joined.get(output, ((output,), 0))
            joins.append(Join(len(parts), dim))
            for part in parts:
                value, order = self._returned(part)
                found[self._head(part.node if isinstance(part, HostValue) else part, value, found).name] = order
        self.structure = replace(self.structure, joins=tuple(joins))
        self.heads = tuple(found.items())
        fold_ahead(self.drafts, found, self.input_shape[0])
        layers = {draft.name: draft.build() for draft in self.drafts}
        needed = set(found)
        for name in reversed(layers):
            if name in needed:
                needed.update(layers[name].sources)
        kept = [layer for name, layer in layers.items() if name in needed]
        # An only output comes last; whatever stands behind it is not needed.
        return kept if len(found) > 1 else sorted(kept, key=lambda layer: layer.name in found)

    def _returned(self, output: object) -> tuple[Value, Order]:
        """What an output is, and its order."""
        if not isinstance(output, HostValue):
            if not isinstance(output, fx.Node) or (output not in self.values and output not in self.moved):
                raise ValueError(f"Model must return tensors, in tuples, lists or tables, not {type(output).__name__}")
            output = self._seen(output)
        source, numbers, reason, _ = output
        value = self._settled(source)
        whole, places = prod(value.shape), value.shape[1] * value.shape[2]
        first = (numbers[0] if numbers.dim() else numbers) % whole
        if not torch.equal(numbers, torch.stack([first + n * whole for n in range(BATCH)])):
            raise ValueError(f"{reason}; at the end it must keep images apart, along dimension 0") from reason
        channels = (first // places).unique()
        if not 0 < first.numel() == places * len(channels):
            raise ValueError(f"{reason}; at the end it must leave whole channels, each position once") from reason
        first = torch.searchsorted(channels, (first // places).contiguous()) * places + first % places
        if len(channels) < value.shape[0]:
            picks = chosen(value.picks, channels.tolist())
            value = replace(value, picks=picks, shape=(len(channels), *value.shape[1:]))
        try:
            return value, order_of(first.numpy())
        except ValueError as error:
            raise ValueError(f"{reason}; at the end it must move whole axes: {error}") from error

    def _settled(self, node: fx.Node) -> Value:
        """What a node stands for, all positions."""
        value = self.values[node]
        if all(pick.draft is None for pick in value.picks):
            raise ValueError("Model must end with a layer, not with its input or a slice")
        return value if value.still else self._made(node, node)

    def _head(self, output: fx.Node, value: Value, taken: Container[str]) -> Draft:
        """The layer whose result is the output, and no other output."""
        last = value.draft if value.plain and value.draft is not None and value.draft.name not in taken else None
        return last or self._sum(output, value, copies=len(value.picks) == 1)
