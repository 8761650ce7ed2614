"""Functions of one number that a model writes as several operations, such as ``x * sigmoid(x)``: one table.

What multiplies two tensors, or takes their maximum, has no layer; where both are functions of one tensor, number by
number, the result is one, too.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from twofold.train.graph import called
from twofold.train.pointwise import FUNCTIONS, Pointwise

#: Operations that are looked for: of two tensors, and of one and numbers.
_OF_TWO = ("mul", "imul", "multiply", "div", "truediv", "itruediv", "divide", "true_divide")
_EXTREMES = ("maximum", "minimum", "max", "min")
_OF_ONE = ("abs", "absolute", "square", "pow", "exp", "erf")
#: Others that a formula may hold.
_LINEAR = ("add", "iadd", "sub", "isub", "subtract", "rsub", "neg", "negative")
_CLIPS = ("relu", "relu6", "clamp", "clip", "clamp_min", "clamp_max")
#: All operations that a formula may hold.
NAMES = {*_OF_TWO, *_EXTREMES, *_OF_ONE, *_LINEAR, *_CLIPS, *FUNCTIONS}
_NONNEGATIVE = ("relu", "relu6", "abs", "absolute", "square", "exp", "sigmoid", "hardsigmoid", "softplus")


@dataclass(frozen=True)
class FormulaStep:
    """One operation; `Earlier` stands for results of those before."""

    name: str
    target: Any
    args: tuple[Any, ...]
    kwargs: tuple[tuple[str, Any], ...]


@dataclass(frozen=True)
class Earlier:
    """The result of a formula's n-th step, from 1; 0: the number that it is asked with."""

    n: int


@dataclass(frozen=True)
class Formula:
    """A function of one number; the last step's result."""

    steps: tuple[FormulaStep, ...]

    def __call__(self, x: Tensor) -> Tensor:
        values = [x]
        for step in self.steps:
            # Of its own, as a step may work in place.
            args = [values[one.n].clone() if isinstance(one, Earlier) else one for one in step.args]
            kwargs = {key: values[one.n].clone() if isinstance(one, Earlier) else one for key, one in step.kwargs}
            if step.name in _EXTREMES:  # which take no plain numbers
                args = [torch.as_tensor(one, dtype=x.dtype) for one in args]
            call = getattr(Tensor, step.target) if isinstance(step.target, str) else step.target
            values.append(call(*args, **kwargs))
        return values[-1]

    @property
    def nonnegative(self) -> bool:
        """Whether no result is negative."""
        return self.steps[-1].name in _NONNEGATIVE


def write_formulas(graph: fx.GraphModule, values: Mapping[fx.Node, Tensor]) -> None:
    """Have one node compute each formula that there is nothing else for.

    Parameters
    ----------
    values
        What nodes have computed.
    """
    constants = _constants(graph.graph, values)
    for node in list(graph.graph.nodes):
        if node.graph is not graph.graph or not node.users or not _wanted(graph, node, constants):
            continue
        found = _closest(graph, node, constants)
        if found is None:
            continue
        source, formula = found
        while len(node.users) == 1:
            (user,) = node.users
            longer = _formula(graph, user, source, constants)
            if longer is None:
                break
            node, formula = user, longer
        while (before := _before(graph, node, source, constants)) is not None:
            source, formula = before
        node.op, node.target, node.kwargs = "call_function", formula, {}
        node.args = (source,)
        _erase(graph.graph, node)


def _constants(graph: fx.Graph, values: Mapping[fx.Node, Tensor]) -> dict[fx.Node, Any]:
    """What the model computes from no input: numbers, and ``None`` for what is no one number."""
    found: dict[fx.Node, Any] = {}
    for node in graph.nodes:
        known = all(one in found for one in node.all_input_nodes)
        if node.op in ("get_attr", "call_function", "call_method") and known:
            value = values.get(node)
            found[node] = value.item() if value is not None and value.numel() == 1 else None
    return found


def _wanted(graph: fx.GraphModule, node: fx.Node, constants: Mapping[fx.Node, Any]) -> bool:
    """Whether the node is an operation that only a formula may hold."""
    name = _name(graph, node)
    tensors = [one for one in node.args if isinstance(one, fx.Node) and one not in constants]
    return len(tensors) > (name in _OF_TWO) and name in _OF_TWO + _EXTREMES + _OF_ONE


def _name(graph: fx.GraphModule, node: fx.Node) -> str:
    """Name of an operation of numbers, one by one; empty of others."""
    if node.op == "call_module":
        module = graph.get_submodule(str(node.target))
        return type(module).__name__.lower() if _module(module) is not None else ""
    name = called(node).strip("_") if node.op in ("call_function", "call_method") else ""
    # Of one tensor it is the largest of its numbers.
    whole = name in ("max", "min") and not (len(node.args) > 1 and isinstance(node.args[1], fx.Node))
    return name if name in NAMES and not whole else ""


def _module(module: nn.Module) -> Any:
    """What a layer computes of each number."""
    if isinstance(module, nn.ReLU):
        return torch.relu
    if isinstance(module, nn.ReLU6):
        return nn.functional.relu6
    try:
        return Pointwise.of_module(module)
    except ValueError:
        return None


def _closest(graph: fx.GraphModule, node: fx.Node, constants: Mapping[fx.Node, Any]) -> tuple[fx.Node, Formula] | None:
    """The nearest tensor that the node is a function of, and the function."""
    order = {one: number for number, one in enumerate(graph.graph.nodes)}
    near = {one for one in node.all_input_nodes if one not in constants}
    while near:
        latest = max(near, key=order.__getitem__)
        if len(near) == 1:
            formula = _formula(graph, node, latest, constants)
            return None if formula is None else (latest, formula)
        if not _name(graph, latest):
            return None
        near.remove(latest)
        near |= {one for one in latest.all_input_nodes if one not in constants}
    return None


def _before(
    graph: fx.GraphModule, node: fx.Node, source: fx.Node, constants: Mapping[fx.Node, Any]
) -> tuple[fx.Node, Formula] | None:
    """What the source is an activation of, where only the formula takes it; and the formula of that.

    Constants that are added or multiplied are left to the layer before, where they cost nothing.
    """
    inputs = [one for one in source.all_input_nodes if one not in constants]
    if _name(graph, source) in ("", *_OF_TWO, *_LINEAR) or not {*source.users} <= _between(node, source, constants):
        return None
    formula = _formula(graph, node, inputs[0], constants)
    return None if formula is None else (inputs[0], formula)


def _formula(graph: fx.GraphModule, node: fx.Node, source: fx.Node, constants: Mapping[fx.Node, Any]) -> Formula | None:
    """What a node computes of each number of a source; ``None`` where it does anything else."""
    places, steps = {source: Earlier(0)}, list[FormulaStep]()
    order = [one for one in graph.graph.nodes if one in _between(node, source, constants)]
    for one in order:
        name = _name(graph, one)
        inputs = one.all_input_nodes
        if not name or any(other not in places and constants.get(other) is None for other in inputs):
            return None
        known: dict[fx.Node, Any] = {other: places.get(other, constants.get(other)) for other in inputs}
        args, kwargs = fx.map_arg((one.args, one.kwargs), known.__getitem__)
        target = _module(graph.get_submodule(str(one.target))) if one.op == "call_module" else one.target
        steps.append(FormulaStep(name, target, tuple(args), tuple(kwargs.items())))
        places[one] = Earlier(len(steps))
    return Formula(tuple(steps))


def _between(node: fx.Node, source: fx.Node, constants: Mapping[fx.Node, Any]) -> set[fx.Node]:
    """The node and what it is computed from, up to a source; beyond it where it takes anything else."""
    found, left = set[fx.Node](), [node]
    while left:
        one = left.pop()
        if one is not source and one not in constants and one not in found:
            found.add(one)
            left += one.all_input_nodes
    return found


def _erase(graph: fx.Graph, node: fx.Node) -> None:
    """Take out what only the node took."""
    for one in reversed(list(graph.nodes)):
        if one is not node and not one.users and one.op not in ("output", "placeholder"):
            graph.erase_node(one)
