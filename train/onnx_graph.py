"""A PyTorch graph as it is made of an ONNX file's, and what its operators' handlers share."""

import re
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx, nn

from twofold.exchange.model_file import OnnxGraph, OnnxNode
from twofold.support.names import free_name


class ModuleGraph:
    """PyTorch's graph as it grows: for each ONNX value a constant, or a node of it."""

    def __init__(self, graph: OnnxGraph) -> None:
        self.source, self.root, self.graph = graph, nn.Module(), fx.Graph()
        self.constants: dict[str, NDArray[Any]] = dict(graph.constants)
        self.values: dict[str, fx.Node] = {graph.input: self.graph.placeholder("x")}
        #: Values without height and width.
        self.vectors: set[fx.Node] = {*self.values.values()} if len(graph.shape) == 1 else set()

    def module(self, node: OnnxNode, module: nn.Module, value: fx.Node | None = None) -> fx.Node:
        """A module that takes the node's first input, or a value."""
        name = self.free(node.name)
        self.root.add_module(name, module)
        source = value if value is not None else self.value(node, 0)
        result = self.graph.call_module(name, (source,))
        if source in self.vectors or isinstance(module, (nn.Flatten, nn.Linear)):
            self.vectors.add(result)
        self.values[node.outputs[0]] = result
        return result

    def free(self, name: str) -> str:
        """A name like that which the module does not have yet."""
        return free_name(identifier(name), lambda found: hasattr(self.root, found))

    def value(self, node: OnnxNode, place: int) -> fx.Node:
        if node.inputs[place] not in self.values:
            raise ValueError(f"{node.where}: input {place} must depend on the network's input")
        return self.values[node.inputs[place]]

    def constant(self, node: OnnxNode, place: int) -> NDArray[Any] | None:
        """A constant input; None if it is left out."""
        name = node.inputs[place] if place < len(node.inputs) else ""
        if name and name not in self.constants:
            raise ValueError(f"{node.where}: input {place} must be constant")
        return self.constants[name] if name else None

    def needed(self, node: OnnxNode, place: int) -> NDArray[Any]:
        found = self.constant(node, place)
        if found is None:
            raise ValueError(f"{node.where}: input {place} must be given, not left out")
        return found


def fill(node: OnnxNode, module: nn.Module, **arrays: NDArray[Any] | None) -> None:
    """Puts a file's numbers into a module."""
    for name, array in arrays.items():
        if array is None:
            continue
        tensor: Tensor = getattr(module, name)
        if array.shape != tuple(tensor.shape) or not np.isfinite(array.astype(np.float64)).all():
            raise ValueError(f"{node.where}: {name} must be finite numbers of {tuple(tensor.shape)}, not {array.shape}")
        with torch.no_grad():
            tensor.copy_(torch.tensor(array.astype(np.float32)))


def sides(node: OnnxNode, axes: int) -> tuple[int, ...]:
    auto = node.attributes.get("auto_pad", b"NOTSET")
    sides = tuple(node.attributes.get("pads", (0,) * 2 * axes))
    if auto not in (b"NOTSET", b"VALID") or len(sides) != 2 * axes:
        raise ValueError(f"{node.where}: pads must be {2 * axes} numbers and auto_pad NOTSET, not {auto.decode()}")
    return sides


def window(node: OnnxNode, name: str, axes: int) -> Any:
    return tuple(node.attributes.get(name, (1,) * axes))


def identifier(name: str) -> str:
    """A name of Python's that resembles a node's."""
    plain = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_")
    return plain if plain[:1].isalpha() else f"node_{plain}"
