"""ONNX files that are read: nodes, constants, one input. Nothing beside the file is opened, no code in it is run."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnx import AttributeProto, ModelProto, TensorProto, ValueInfoProto, checker, helper, numpy_helper

from twofold.support.reading import LARGEST, read_bytes

#: Oldest operator set that is read: from it on, bounds and paddings are inputs.
OLDEST = 11
#: Kinds of attributes that are read; the others hold graphs and the like.
_PLAIN = tuple(
    getattr(AttributeProto, kind) for kind in ("FLOAT", "INT", "STRING", "FLOATS", "INTS", "STRINGS", "TENSOR")
)
_DAMAGED = (DecodeError, checker.ValidationError, LookupError, TypeError, ValueError)


@dataclass(frozen=True)
class OnnxNode:
    """One operation."""

    name: str
    operator: str
    domain: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]

    @property
    def where(self) -> str:
        """How messages name it."""
        return f"Node {self.name!r} ({self.operator})"


@dataclass(frozen=True)
class OnnxGraph:
    """What a file holds.

    Parameters
    ----------
    name
        Of the graph.
    input, shape, dtype
        Name of the one input, its shape without the batch, and its number type.
    outputs
        Names of the outputs.
    nodes
        In an order in which values are made before they are used.
    constants
        By name.
    """

    name: str
    input: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    outputs: tuple[str, ...]
    nodes: tuple[OnnxNode, ...]
    constants: Mapping[str, NDArray[Any]]


def read_graph(path: Path | str) -> OnnxGraph:
    """Read an ONNX file.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is damaged, too large, or has what is not read here: several inputs, constants in other files, an input
        without a fixed shape, an old operator set. The message begins with the path.
    """
    path = Path(path)
    data = read_bytes(path, LARGEST)
    try:
        model = onnx.load_model_from_string(data)
        graph = _graph(model)
        # Only what names no other file is checked.
        checker.check_model(model)
        return graph
    except _DAMAGED as error:
        raise ValueError(f"{path}: file must be an ONNX model that is read here, not this: {error}") from error


def _graph(model: ModelProto) -> OnnxGraph:
    version = max((one.version for one in model.opset_import if one.domain in ("", "ai.onnx")), default=0)
    if version < OLDEST:
        raise ValueError(f"operator set must be {OLDEST} or newer, not {version}")
    graph = model.graph
    constants = {tensor.name: _array(tensor) for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in constants]
    if len(inputs) != 1 or not graph.output:
        raise ValueError(f"graph must have one input and an output, not {[value.name for value in inputs]}")
    nodes = tuple(_node(node) for node in graph.node)
    shape, dtype = _type(inputs[0])
    return OnnxGraph(
        graph.name, inputs[0].name, shape, dtype, tuple(value.name for value in graph.output), nodes, constants
    )


def _node(node: Any) -> OnnxNode:
    attributes = {}
    for one in node.attribute:
        if one.type not in _PLAIN:
            raise ValueError(f"attribute {one.name!r} of node {node.name!r} must be numbers or strings, not a graph")
        value = helper.get_attribute_value(one)
        attributes[one.name] = _array(value) if one.type == AttributeProto.TENSOR else value
    name = node.name or (node.output[0] if node.output else "")
    return OnnxNode(name, node.op_type, node.domain, tuple(node.input), tuple(node.output), attributes)


def _array(tensor: TensorProto) -> NDArray[Any]:
    if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
        raise ValueError(f"constant {tensor.name!r} must be in the file, not in another one")
    array = numpy_helper.to_array(tensor)
    # Numbers that NumPy itself has not, such as those of four bits, are of kind V.
    if array.dtype.kind not in "fiubV":
        raise ValueError(f"constant {tensor.name!r} must be of numbers, not of {array.dtype}")
    return array


def _type(value: ValueInfoProto) -> tuple[tuple[int, ...], np.dtype[Any]]:
    kind = value.type.tensor_type
    sides = tuple(side.dim_value for side in kind.shape.dim[1:])
    if not sides or min(sides) < 1:
        raise ValueError(f"input {value.name!r} must have a fixed shape, but for the batch, not {sides}")
    return sides, helper.tensor_dtype_to_np_dtype(kind.elem_type)
