"""What lowering keeps while it walks a graph: drafts of layers, and what each node stands for."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from torch import Tensor, fx

from twofold.golden.network import INPUT
from twofold.support.names import free_name
from twofold.train.compare import Place
from twofold.train.draft import MOVING, Draft, Value
from twofold.train.graph import is_layer, is_shared, place, result_shape
from twofold.train.picks import Pick, chosen, gathered, inverse


class Values:
    """Drafts, values and constants of a traced model.

    Parameters
    ----------
    graph
        The traced model.
    signed
        Whether the input can be negative.
    """

    def __init__(self, graph: fx.GraphModule, *, signed: bool):
        self.graph, self.signed = graph, signed
        self.drafts: list[Draft] = []
        self.values: dict[fx.Node, Value] = {}
        self.parts: dict[fx.Node, list[Value]] = {}
        self.constants: dict[fx.Node, Tensor] = {}
        self.names: set[str] = {INPUT}

    @property
    def places(self) -> dict[str, Place]:
        """Where the graph has each layer's value."""
        return {draft.name: Place(draft.node, draft.spots) for draft in self.drafts if draft.node is not None}

    def _keep(self, node: fx.Node, value: Value | list[Value]) -> None:
        """Write down what a node stands for."""
        if isinstance(value, list):
            self.parts[node] = value
        else:
            self.values[node] = value
            self._note(node, value)

    def _note(self, node: fx.Node, value: Value) -> None:
        """Write down where the node has the results of drafts, whole."""
        if not value.still or value.split:
            return
        spots: dict[Draft, list[tuple[int, int]]] = {}
        place = 0
        for pick in value.picks:
            if pick.draft is not None:
                spots.setdefault(pick.draft, []).extend((channel, place + n) for n, channel in enumerate(pick.channels))
            place += len(pick.channels)
        for draft, pairs in spots.items():
            if sorted(channel for channel, _ in pairs) == list(range(draft.shape[0])):
                there = tuple(number for _, number in sorted(pairs))
                draft.node, draft.spots = node, None if there == tuple(range(value.shape[0])) else there

    def _where(self, node: fx.Node) -> str:
        kind = "Layer" if is_layer(node) else "Operation in"
        return f"{kind} {place(node) or 'the model itself'!r}"

    def _name(self, node: fx.Node) -> str:
        base = place(node)
        if not is_layer(node):
            base = f"{base}.{node.name}" if base else node.name
        name = free_name(base, self.names.__contains__)
        self.names.add(name)
        return name

    def _operand(self, node: fx.Node, position: int, *, split: bool = False) -> Value:
        """What an argument stands for; only where `split` it may have several axes of channels."""
        argument = node.args[position] if position < len(node.args) else None
        if not isinstance(argument, fx.Node) or argument not in self.values:
            raise ValueError(f"{self._where(node)} must take a tensor as argument {position + 1}, not {argument!r}")
        if self.values[argument].split and not split:
            shape = result_shape(argument)[1:]
            raise ValueError(f"{self._where(node)} must not take channels that lie along several axes, {shape!r}")
        return self.values[argument]

    def _input(self, node: fx.Node) -> Value:
        """The node's source, all positions of its channels."""
        value = self._operand(node, 0)
        return value if value.still else self._kept(node, 0)

    def _still(self, node: fx.Node, argument: Any) -> Value:
        """One of the tensors of a list that the node takes, all positions of its channels."""
        if not isinstance(argument, fx.Node) or argument not in self.values:
            raise ValueError(f"{self._where(node)} must take tensors, not {argument!r}")
        value = self.values[argument]
        return value if value.still else self._made(node, argument)

    def _padded(self, node: fx.Node) -> Value:
        """The node's source, which may be padded around its map."""
        value = self._operand(node, 0)
        return value if value.unsliced else self._kept(node, 0)

    def _filled(self, node: fx.Node, position: int) -> Value:
        """The node's operand, which may be strided and padded with zeros."""
        value = self._operand(node, position)
        return self._kept(node, position) if value.fill else value

    def _kept(self, node: fx.Node, position: int) -> Value:
        """The node's operand, with its padding and steps made a tensor of its own."""
        argument: Any = node.args[position]
        return self._made(node, argument)

    def _made(self, node: fx.Node, argument: fx.Node) -> Value:
        """The same of any value that the node takes."""
        value = self.values[argument]
        assert value.node is not None
        if value.fill:
            raise ValueError(f"{self._where(node)} must not take a tensor padded with {value.fill}: only a maximum may")
        if value.shape[0] != value.channels:
            draft = self._sum(value.node, value, copies=len(value.picks) == 1)
            kept = self._result(value.node, draft, flat=value.flat)
        else:
            kept = self._each(value.node, value, lambda part: self._sum(value.node, part, copies=True))
        self._note(value.node, kept)
        self.values[argument] = replace(kept, shared=value.shared)
        return self.values[argument]

    def _sum(self, node: fx.Node | None, *values: Value, copies: bool = False) -> Draft:
        """A layer that adds values, or with `copies` gives one tensor's as they are."""
        assert node is not None
        draft = Draft(
            self._name(node),
            "add",
            values[0].shape,
            [skip for value in values for skip in value.skips],
            nonnegative=all(map(self._nonnegative, values)),
            copies=copies,
        )
        self.drafts.append(draft)
        return draft

    def _each(self, node: fx.Node, value: Value, make: Callable[[Value], Draft]) -> Value:
        """What a node stands for that treats each channel by itself: results of a layer for each of the tensors.

        Parameters
        ----------
        make
            The layer for a part of the value, channels of one tensor.
        """
        parts, order = self._ordered(value)
        drafts = [
            make(replace(value, picks=(pick,), shape=(len(pick.channels), *value.shape[1:]))) for pick in parts.picks
        ]
        size = drafts[0].shape[1:]
        picks = chosen(tuple(Pick.of(draft, draft.shape[0]) for draft in drafts), inverse(order))
        return Value(picks, size, (value.channels, *size), shared=is_shared(node), flat=value.flat, node=node)

    def _ordered(self, value: Value) -> tuple[Value, tuple[int, ...]]:
        """The value's channels with those of a tensor together, and the numbers that they had."""
        order = gathered(value.picks)
        return replace(value, picks=chosen(value.picks, order)), order

    def _result(
        self, node: fx.Node, draft: Draft, *, flat: bool = False, order: tuple[int, ...] | None = None
    ) -> Value:
        """What a node stands for that is a draft's result; `order` says which of its channels the draft's are."""
        value = Value.of(draft, draft.shape, shared=is_shared(node), flat=flat, node=node)
        return value if order is None else replace(value, picks=chosen(value.picks, inverse(order)))

    def _alias(self, node: fx.Node, position: int = 0, **changes: Any) -> Value:
        source = self._operand(node, position, split=True)
        return replace(source, shared=source.shared or is_shared(node), node=node, **changes)

    def _nonnegative(self, value: Value) -> bool:
        return all(self._never_negative(pick) for pick in value.picks)

    def _never_negative(self, pick: Pick) -> bool:
        return not self.signed if pick.draft is None else pick.draft.nonnegative or pick.draft.relu

    def _open(self, value: Value) -> bool:
        """Whether the value is a layer's result that something may still be fused into."""
        return value.plain and self._may_fuse(value, value.picks[0])

    def _may_fuse(self, value: Value, pick: Pick) -> bool:
        """Whether something may be fused into the layer of one of a value's picks, which are gathered."""
        draft = pick.draft
        return (
            draft is not None
            and value.still
            and not (value.shared or pick.shared)
            and sorted(pick.channels) == list(range(pick.count))
            and sum(one.draft is draft for one in value.picks) == 1
            and not draft.relu
            and draft.function is None
            and not draft.copies
            and draft.kind not in MOVING
        )

    def _dims(self, node: fx.Node) -> int:
        """Dimensions of the node's source, the batch included."""
        return len(result_shape(node.args[0]))
