"""A float ONNX file as a PyTorch module that `train.convert.convert` takes."""

import operator
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx, nn

from twofold.exchange.model_file import OnnxGraph, OnnxNode, read_graph
from twofold.support.names import free_name


def torch_from_onnx(path: Path | str) -> nn.Module:
    """The network of a float ONNX file, in evaluation, with modules named as the file's nodes.

    Parameters
    ----------
    path
        A file of convolutions, linear layers, batch norm, ReLU, pooling, padding, flatten and additions.

    Returns
    -------
    A module that takes what the file's input is.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is damaged, or a node is not one of these, with the node's name.
    """
    graph = read_graph(path)
    try:
        return _Builder(graph).run()
    except (LookupError, RuntimeError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error


class _Builder:
    """PyTorch's graph as it grows: for each ONNX value a constant, or a node of it."""

    def __init__(self, graph: OnnxGraph) -> None:
        self.source, self.root, self.graph = graph, nn.Module(), fx.Graph()
        self.constants: dict[str, NDArray[Any]] = dict(graph.constants)
        self.values: dict[str, fx.Node] = {graph.input: self.graph.placeholder("x")}

    def run(self) -> fx.GraphModule:
        for node in self.source.nodes:
            handler = _HANDLERS.get(node.operator) if node.domain in ("", "ai.onnx") else None
            if handler is None:
                raise ValueError(f"{node.where} must be one of {', '.join(sorted(_HANDLERS))}")
            handler(self, node)
        if self.source.output not in self.values:
            raise ValueError(f"Output {self.source.output!r} must depend on the input")
        self.graph.output(self.values[self.source.output])
        return fx.GraphModule(self.root, self.graph, class_name=_identifier(self.source.name or "network")).eval()

    def module(self, node: OnnxNode, module: nn.Module, value: fx.Node | None = None) -> fx.Node:
        """A module that takes the node's first input, or a value."""
        name = free_name(_identifier(node.name), lambda name: hasattr(self.root, name))
        self.root.add_module(name, module)
        result = self.graph.call_module(name, (value if value is not None else self.value(node, 0),))
        self.values[node.outputs[0]] = result
        return result

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

    # Operators

    def convolution(self, node: OnnxNode) -> None:
        weight, bias = self.needed(node, 1), self.constant(node, 2)
        axes = weight.ndim - 2
        if axes not in (1, 2):
            raise ValueError(f"{node.where}: weights must have 3 or 4 dimensions, not {weight.ndim}")
        value, padding = self._padded(node, axes)
        kind = nn.Conv1d if axes == 1 else nn.Conv2d
        groups = int(node.attributes.get("group", 1))
        convolution = kind(
            weight.shape[1] * groups,
            weight.shape[0],
            tuple(weight.shape[2:]),
            stride=_window(node, "strides", axes),
            padding=padding,
            dilation=_window(node, "dilations", axes),
            groups=groups,
            bias=bias is not None,
        )
        _fill(node, convolution, weight=weight, bias=bias)
        self.module(node, convolution, value)

    def linear(self, node: OnnxNode) -> None:
        weight, bias = self.needed(node, 1), self.constant(node, 2) if node.operator == "Gemm" else None
        wrong = any(node.attributes.get(key, 1) != 1 for key in ("alpha", "beta")) or node.attributes.get("transA", 0)
        if weight.ndim != 2 or wrong:
            raise ValueError(f"{node.where} must be a linear layer: alpha and beta 1, transA 0, weights a matrix")
        weight = weight if node.attributes.get("transB", 0) else weight.T
        linear = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
        _fill(node, linear, weight=weight, bias=None if bias is None else np.broadcast_to(bias, weight.shape[:1]))
        self.module(node, linear)

    def norm(self, node: OnnxNode) -> None:
        gain, bias, mean, variance = (self.needed(node, place) for place in (1, 2, 3, 4))
        norm = nn.BatchNorm2d(len(gain), eps=float(node.attributes.get("epsilon", 1e-5)))
        _fill(node, norm, weight=gain, bias=bias, running_mean=mean, running_var=variance)
        self.module(node, norm)

    def add(self, node: OnnxNode) -> None:
        """Two values, or the bias of the layer before."""
        places = [place for place in (0, 1) if node.inputs[place] in self.constants]
        if not places:
            self.values[node.outputs[0]] = self.graph.call_function(
                operator.add, (self.value(node, 0), self.value(node, 1))
            )
            return
        value, bias = self.value(node, 1 - places[0]), self.needed(node, places[0]).reshape(-1)
        layer = self.root.get_submodule(str(value.target)) if value.op == "call_module" else None
        used = [other for other in self.source.nodes if node.inputs[1 - places[0]] in other.inputs]
        if not isinstance(layer, (nn.Linear, nn.Conv1d, nn.Conv2d)) or len(used) > 1:
            raise ValueError(f"{node.where}: a constant must be added to a convolution or a linear layer")
        whole = torch.tensor(np.broadcast_to(bias, (len(layer.weight),)).copy(), dtype=torch.float32)
        layer.bias = nn.Parameter(whole if layer.bias is None else layer.bias.detach() + whole)
        self.values[node.outputs[0]] = value

    def clip(self, node: OnnxNode) -> None:
        low, high = (self.constant(node, place) for place in (1, 2))
        bounds = [None if bound is None else float(bound.reshape(())) for bound in (low, high)]
        if bounds == [0.0, 6.0]:
            self.module(node, nn.ReLU6())
        elif bounds[0] == 0 and bounds[1] in (None, np.inf):
            self.module(node, nn.ReLU())
        else:
            raise ValueError(f"{node.where}: bounds must be 0 and 6, or 0 alone, not {bounds}")

    def relu(self, node: OnnxNode) -> None:
        self.module(node, nn.ReLU())

    def pool(self, node: OnnxNode) -> None:
        kernel = node.attributes.get("kernel_shape", ())
        axes = len(kernel)
        if axes not in (1, 2) or len(node.outputs) > 1:
            raise ValueError(f"{node.where}: kernel_shape must be 1 or 2 numbers, and indices not be used")
        sides = _sides(node, axes)
        if sides[:axes] != sides[axes:]:
            raise ValueError(f"{node.where}: pads must be the same at both ends, not {sides}")
        options: dict[str, Any] = {"padding": sides[:axes], "ceil_mode": bool(node.attributes.get("ceil_mode", 0))}
        options["stride"] = _window(node, "strides", axes)
        if node.operator == "MaxPool":
            kinds: tuple[Callable[..., nn.Module], ...] = (nn.MaxPool1d, nn.MaxPool2d)
            options["dilation"] = _window(node, "dilations", axes)
        else:
            kinds = (nn.AvgPool1d, nn.AvgPool2d)
            options["count_include_pad"] = bool(node.attributes.get("count_include_pad", 0))
        self.module(node, kinds[axes - 1](tuple(kernel), **options))

    def global_average(self, node: OnnxNode) -> None:
        self.module(node, nn.AdaptiveAvgPool2d(1) if len(self.source.shape) == 3 else nn.AdaptiveAvgPool1d(1))

    def mean(self, node: OnnxNode) -> None:
        given = self.constant(node, 1)
        axes = tuple(int(axis) for axis in (node.attributes.get("axes", ()) if given is None else given.reshape(-1)))
        keep = bool(node.attributes.get("keepdims", 1))
        self.values[node.outputs[0]] = self.graph.call_method("mean", (self.value(node, 0), axes), {"keepdim": keep})

    def flatten(self, node: OnnxNode) -> None:
        shape = self.needed(node, 1).reshape(-1) if node.operator == "Reshape" else np.zeros(2)
        if node.operator == "Reshape" and node.inputs[0] in self.constants:
            self.constants[node.outputs[0]] = self.constants[node.inputs[0]].reshape(shape.astype(np.int64))
            return
        if len(shape) != 2 or node.attributes.get("axis", 1) != 1:
            raise ValueError(f"{node.where} must make one vector of each image")
        self.module(node, nn.Flatten())

    def pad(self, node: OnnxNode) -> None:
        sides, fill = self.needed(node, 1).astype(np.int64).reshape(-1), self.constant(node, 2)
        outer = sides.size != 8 or any(sides[[0, 1, 4, 5]])
        zeros = node.attributes.get("mode", b"constant") == b"constant" and (fill is None or not fill.any())
        if outer or not zeros or self.constant(node, 3) is not None:
            raise ValueError(f"{node.where}: padding must be of zeros around height and width")
        top, left, bottom, right = (int(sides[place]) for place in (2, 3, 6, 7))
        self.module(node, nn.ZeroPad2d((left, right, top, bottom)))

    def same(self, node: OnnxNode) -> None:
        self.values[node.outputs[0]] = self.value(node, 0)

    def number(self, node: OnnxNode) -> None:
        self.constants[node.outputs[0]] = np.asarray(next(iter(node.attributes.values())))

    def transpose(self, node: OnnxNode) -> None:
        self.constants[node.outputs[0]] = np.transpose(self.needed(node, 0), node.attributes.get("perm"))

    def _padded(self, node: OnnxNode, axes: int) -> tuple[fx.Node, Any]:
        """What a convolution takes, and its own padding: sides that differ are a layer of zeros before it."""
        sides = _sides(node, axes)
        begin, end = sides[:axes], sides[axes:]
        if begin == end:
            return self.value(node, 0), begin
        around: Any = [side for axis in reversed(range(axes)) for side in (begin[axis], end[axis])]
        name = f"{_identifier(node.name)}_pad"
        self.root.add_module(name, (nn.ZeroPad2d if axes == 2 else nn.ZeroPad1d)(tuple(around)))
        return self.graph.call_module(name, (self.value(node, 0),)), (0,) * axes


def _fill(node: OnnxNode, module: nn.Module, **arrays: NDArray[Any] | None) -> None:
    """Puts a file's numbers into a module."""
    for name, array in arrays.items():
        if array is None:
            continue
        tensor: Tensor = getattr(module, name)
        if array.shape != tuple(tensor.shape) or not np.isfinite(array.astype(np.float64)).all():
            raise ValueError(f"{node.where}: {name} must be finite numbers of {tuple(tensor.shape)}, not {array.shape}")
        with torch.no_grad():
            tensor.copy_(torch.tensor(array.astype(np.float32)))


def _sides(node: OnnxNode, axes: int) -> tuple[int, ...]:
    auto = node.attributes.get("auto_pad", b"NOTSET")
    sides = tuple(node.attributes.get("pads", (0,) * 2 * axes))
    if auto not in (b"NOTSET", b"VALID") or len(sides) != 2 * axes:
        raise ValueError(f"{node.where}: pads must be {2 * axes} numbers and auto_pad NOTSET, not {auto.decode()}")
    return sides


def _window(node: OnnxNode, name: str, axes: int) -> Any:
    return tuple(node.attributes.get(name, (1,) * axes))


def _identifier(name: str) -> str:
    """A name of Python's that resembles a node's."""
    plain = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_")
    return plain if plain[:1].isalpha() else f"node_{plain}"


_HANDLERS: dict[str, Callable[[_Builder, OnnxNode], None]] = {
    "Add": _Builder.add,
    "AveragePool": _Builder.pool,
    "BatchNormalization": _Builder.norm,
    "Clip": _Builder.clip,
    "Constant": _Builder.number,
    "Conv": _Builder.convolution,
    "Dropout": _Builder.same,
    "Flatten": _Builder.flatten,
    "Gemm": _Builder.linear,
    "GlobalAveragePool": _Builder.global_average,
    "Identity": _Builder.same,
    "MatMul": _Builder.linear,
    "MaxPool": _Builder.pool,
    "Pad": _Builder.pad,
    "ReduceMean": _Builder.mean,
    "Relu": _Builder.relu,
    "Reshape": _Builder.flatten,
    "Transpose": _Builder.transpose,
}
