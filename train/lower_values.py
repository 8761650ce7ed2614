"""What lowering keeps while it walks a graph: drafts of layers, and what each node stands for."""

from dataclasses import replace
from typing import Any

from torch import fx

from twofold.golden.network import INPUT
from twofold.train.draft import Draft, Value
from twofold.train.graph import is_shared, place, result_shape


class Values:
    """Drafts and values of a traced model.

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
        self.names: set[str] = {INPUT}

    @property
    def places(self) -> dict[str, fx.Node]:
        """Node that each layer gives the value of."""
        return {draft.name: draft.node for draft in self.drafts if draft.node is not None}

    def _where(self, node: fx.Node) -> str:
        kind = "Layer" if node.op == "call_module" else "Operation in"
        return f"{kind} {place(node) or 'the model itself'!r}"

    def _name(self, node: fx.Node) -> str:
        base = place(node)
        if node.op != "call_module":
            base = f"{base}.{node.name}" if base else node.name
        name, number = base, 1
        while name in self.names:
            number += 1
            name = f"{base}_{number}"
        self.names.add(name)
        return name

    def _operand(self, node: fx.Node, position: int) -> Value:
        argument = node.args[position] if position < len(node.args) else None
        if not isinstance(argument, fx.Node) or argument not in self.values:
            raise ValueError(f"{self._where(node)} must take a tensor as argument {position + 1}, not {argument!r}")
        return self.values[argument]

    def _input(self, node: fx.Node) -> Value:
        """The node's source, a whole tensor."""
        value = self._operand(node, 0)
        return value if value.plain else self._kept(node, 0)

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
        value, argument = self._operand(node, position), node.args[position]
        assert value.node is not None and isinstance(argument, fx.Node)
        if value.fill:
            raise ValueError(f"{self._where(node)} must not take a tensor padded with {value.fill}: only a maximum may")
        draft = Draft(
            self._name(value.node),
            "add",
            value.shape,
            [value.skip],
            nonnegative=self._nonnegative(value),
            copies=True,
            node=value.node,
        )
        self.drafts.append(draft)
        kept = replace(self._result(value.node, draft, flat=value.flat), shared=value.shared)
        self.values[argument] = kept
        return kept

    def _result(self, node: fx.Node, draft: Draft, *, flat: bool = False) -> Value:
        return Value(draft, draft.shape, draft.shape, shared=is_shared(node), flat=flat, node=node)

    def _alias(self, node: fx.Node, **changes: Any) -> Value:
        source = self._operand(node, 0)
        return replace(source, shared=source.shared or is_shared(node), node=node, **changes)

    def _nonnegative(self, value: Value) -> bool:
        return not self.signed if value.draft is None else value.draft.nonnegative or value.draft.relu

    @staticmethod
    def _open(value: Value) -> bool:
        """Whether something may still be fused into the value's layer."""
        draft = value.draft
        return (
            draft is not None
            and not value.shared
            and value.plain
            and not draft.relu
            and draft.function is None
            and not draft.copies
            and draft.kind not in ("maxpool", "avgpool")
        )

    def _dims(self, node: fx.Node) -> int:
        """Dimensions of the node's source, the batch included."""
        return len(result_shape(node.args[0]))
