"""Operators on integers with scales of their own (QLinearConv and its like), as the same ones on real numbers."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twofold.exchange.model_file import OnnxGraph, OnnxNode

#: onnxruntime's own operators.
MICROSOFT = "com.microsoft"
#: Places of (value, scale, zero point) of inputs, of (scale, zero point) of the output, and of a bias.
_PLACES: dict[str, tuple[tuple[int, ...], int, int | None]] = {
    "QLinearConv": ((0, 3), 6, 8),
    "QLinearMatMul": ((0, 3), 6, None),
    "QGemm": ((0, 3), 7, 6),
    "QLinearAdd": ((0, 3), 6, None),
    "QLinearAveragePool": ((0,), 3, None),
    "QLinearGlobalAveragePool": ((0,), 3, None),
}
_OPERATORS = {"QGemm": "Gemm"}
#: Operators that are known.
NAMES = (*_PLACES, "QLinearConcat")
_QUANTIZING = ("QuantizeLinear", "DequantizeLinear")


def with_real_operators(graph: OnnxGraph) -> OnnxGraph:
    """The graph with DequantizeLinear, the operator on real numbers and QuantizeLinear for each on integers."""
    nodes, constants = list[OnnxNode](), dict(graph.constants)
    for node in graph.nodes:
        nodes += _real(node, constants)
    return replace(graph, nodes=tuple(nodes), constants=constants)


def _real(node: OnnxNode, constants: dict[str, NDArray[Any]]) -> Iterator[OnnxNode]:
    if node.domain == MICROSOFT and node.operator in _QUANTIZING:
        yield replace(node, domain="")
    elif node.operator == "QLinearConcat":
        starts = tuple(range(2, len(node.inputs), 3))
        yield from _expanded(node, constants, starts, 0, None, "Concat", dict(node.attributes))
    elif node.operator in _PLACES:
        inputs, output, bias = _PLACES[node.operator]
        attributes = dict(node.attributes)
        if attributes.pop("channels_last", 0):
            raise ValueError(f"{node.where}: channels_last must be 0, not 1")
        operator = _OPERATORS.get(node.operator, node.operator.removeprefix("QLinear"))
        yield from _expanded(node, constants, inputs, output, bias, operator, attributes)
    else:
        yield node


def _expanded(
    node: OnnxNode,
    constants: dict[str, NDArray[Any]],
    inputs: tuple[int, ...],
    output: int,
    bias: int | None,
    operator: str,
    attributes: Mapping[str, Any],
) -> Iterator[OnnxNode]:
    """Nodes that do the same between real numbers; names are the node's with what they do behind."""
    name, reals = node.outputs[0], []
    for number, place in enumerate(inputs):
        given = tuple(one for one in node.inputs[place : place + 3])
        reals.append(f"{name}:real{number}")
        along = _axis(node, attributes) if number and operator in ("Conv", "MatMul", "Gemm") else 1
        yield _node(node, "DequantizeLinear", given, reals[-1], {"axis": along})
    if bias is not None and bias < len(node.inputs) and node.inputs[bias]:
        unit = f"{name}:unit"
        factors = [_scale(node, constants, place + 1) for place in inputs]
        constants[unit] = np.asarray(factors[0] * factors[1], np.float32)
        reals.append(f"{name}:bias")
        yield _node(node, "DequantizeLinear", (node.inputs[bias], unit), reals[-1], {"axis": 0})
    yield _node(node, operator, tuple(reals), f"{name}:result", attributes)
    last = node.inputs[output : output + 2]
    if len(last) < 2 or not all(last):
        raise ValueError(f"{node.where}: scale and zero point of the result must be given")
    yield _node(node, "QuantizeLinear", (f"{name}:result", *last), name, {})


def _axis(node: OnnxNode, attributes: Mapping[str, Any]) -> int:
    """Axis of the weights that is the output channels'."""
    return 0 if node.operator == "QLinearConv" or attributes.get("transB", 0) else 1


def _scale(node: OnnxNode, constants: Mapping[str, NDArray[Any]], place: int) -> NDArray[Any]:
    if node.inputs[place] not in constants:
        raise ValueError(f"{node.where}: input {place} must be constant")
    return constants[node.inputs[place]].astype(np.float64)


def _node(
    node: OnnxNode, operator: str, inputs: tuple[str, ...], output: str, attributes: Mapping[str, Any]
) -> OnnxNode:
    return OnnxNode(node.name, operator, "", inputs, (output,), attributes)
