"""A float ONNX file as a PyTorch module that `train.convert.convert` takes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import fx, nn

from twofold.exchange.folding import FOLDED, folded
from twofold.exchange.model_file import OnnxNode, read_graph
from twofold.train.onnx_graph import fill, identifier, sides, window
from twofold.train.onnx_moves import PLAIN, SHAPED, Moves


def torch_from_onnx(path: Path | str) -> nn.Module:
    """The network of a float ONNX file, in evaluation, with modules named as the file's nodes.

    Parameters
    ----------
    path
        A file of the operators that docs/onnx.md lists.

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


class _Builder(Moves):
    """Handlers of layers with weights, of poolings and of additions."""

    def run(self) -> fx.GraphModule:
        for node in self.source.nodes:
            constants = folded(node, self.constants)
            if constants:
                self.constants |= constants
                continue
            handler = _HANDLERS.get(node.operator) if node.domain in ("", "ai.onnx") else None
            if handler is None:
                raise ValueError(f"{node.where} must be one of {', '.join(sorted({*_HANDLERS, *FOLDED}))}")
            handler(self, node)
        for name in self.source.outputs:
            if name not in self.values:
                raise ValueError(f"Output {name!r} must depend on the input")
        results = tuple(self.values[name] for name in self.source.outputs)
        self.graph.output(results if len(results) > 1 else results[0])
        module = fx.GraphModule(self.root, self.graph, class_name=identifier(self.source.name or "network"))
        if module.graph.eliminate_dead_code():
            module.delete_all_unused_submodules()
            module.recompile()
        return module.eval()

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
            stride=window(node, "strides", axes),
            padding=padding,
            dilation=window(node, "dilations", axes),
            groups=groups,
            bias=bias is not None,
        )
        fill(node, convolution, weight=weight, bias=bias)
        self.module(node, convolution, value)

    def linear(self, node: OnnxNode) -> None:
        weight, bias = self.needed(node, 1), self.constant(node, 2) if node.operator == "Gemm" else None
        wrong = any(node.attributes.get(key, 1) != 1 for key in ("alpha", "beta")) or node.attributes.get("transA", 0)
        if weight.ndim != 2 or wrong:
            raise ValueError(f"{node.where} must be a linear layer: alpha and beta 1, transA 0, weights a matrix")
        weight = weight if node.attributes.get("transB", 0) else weight.T
        linear = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
        fill(node, linear, weight=weight, bias=None if bias is None else np.broadcast_to(bias, weight.shape[:1]))
        self.module(node, linear)

    def norm(self, node: OnnxNode) -> None:
        gain, bias, mean, variance = (self.needed(node, place) for place in (1, 2, 3, 4))
        single = self.value(node, 0) in self.vectors or len(self.source.shape) < 3
        norm = (nn.BatchNorm1d if single else nn.BatchNorm2d)(
            len(gain), eps=float(node.attributes.get("epsilon", 1e-5))
        )
        fill(node, norm, weight=gain, bias=bias, running_mean=mean, running_var=variance)
        self.module(node, norm)

    def transposed(self, node: OnnxNode) -> None:
        weight, bias = self.needed(node, 1), self.constant(node, 2)
        axes, groups = weight.ndim - 2, int(node.attributes.get("group", 1))
        if axes not in (1, 2) or "output_shape" in node.attributes:
            raise ValueError(f"{node.where}: weights must have 3 or 4 dimensions, and output_shape not be given")
        given: Any = sides(node, axes)
        more = node.attributes.get("output_padding", (0,) * axes)
        if given[:axes] != given[axes:]:
            raise ValueError(f"{node.where}: pads must be the same at both ends, not {given}")
        kind = nn.ConvTranspose1d if axes == 1 else nn.ConvTranspose2d
        convolution = kind(
            len(weight),
            weight.shape[1] * groups,
            tuple(weight.shape[2:]),
            stride=window(node, "strides", axes),
            padding=given[:axes],
            output_padding=tuple(more),
            dilation=window(node, "dilations", axes),
            groups=groups,
            bias=bias is not None,
        )
        fill(node, convolution, weight=weight, bias=bias)
        self.module(node, convolution)

    def add(self, node: OnnxNode) -> None:
        """Two values, or a constant, which is part of the layer before where it has a bias."""
        places = [place for place in (0, 1) if node.inputs[place] in self.constants]
        value = self.value(node, 1 - places[0]) if places else None
        layer = self.root.get_submodule(str(value.target)) if value is not None and value.op == "call_module" else None
        used = [other for other in self.source.nodes if places and node.inputs[1 - places[0]] in other.inputs]
        if value is None or not isinstance(layer, (nn.Linear, nn.Conv1d, nn.Conv2d)) or len(used) > 1:
            self.arithmetic(node)
            return
        bias = self.needed(node, places[0]).reshape(-1)
        whole = torch.tensor(np.broadcast_to(bias, (len(layer.weight),)).copy(), dtype=torch.float32)
        layer.bias = nn.Parameter(whole if layer.bias is None else layer.bias.detach() + whole)
        self.values[node.outputs[0]] = value

    def pool(self, node: OnnxNode) -> None:
        kernel = node.attributes.get("kernel_shape", ())
        axes = len(kernel)
        if axes not in (1, 2) or len(node.outputs) > 1:
            raise ValueError(f"{node.where}: kernel_shape must be 1 or 2 numbers, and indices not be used")
        around = sides(node, axes)
        if around[:axes] != around[axes:]:
            raise ValueError(f"{node.where}: pads must be the same at both ends, not {around}")
        options: dict[str, Any] = {"padding": around[:axes], "ceil_mode": bool(node.attributes.get("ceil_mode", 0))}
        options["stride"] = window(node, "strides", axes)
        if node.operator == "MaxPool":
            kinds: tuple[Callable[..., nn.Module], ...] = (nn.MaxPool1d, nn.MaxPool2d)
            options["dilation"] = window(node, "dilations", axes)
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
        result = self.graph.call_method("mean", (self.value(node, 0), axes), {"keepdim": keep})
        self.values[node.outputs[0]] = result
        if not keep:
            self.vectors.add(result)

    def same(self, node: OnnxNode) -> None:
        self.values[node.outputs[0]] = self.value(node, 0)

    def _padded(self, node: OnnxNode, axes: int) -> tuple[fx.Node, Any]:
        """What a convolution takes, and its own padding: sides that differ are a layer of zeros before it."""
        given = sides(node, axes)
        begin, end = given[:axes], given[axes:]
        if begin == end:
            return self.value(node, 0), begin
        around: Any = [side for axis in reversed(range(axes)) for side in (begin[axis], end[axis])]
        name = self.free(f"{node.name}_pad")
        self.root.add_module(name, (nn.ZeroPad2d if axes == 2 else nn.ZeroPad1d)(tuple(around)))
        return self.graph.call_module(name, (self.value(node, 0),)), (0,) * axes


_HANDLERS: dict[str, Callable[[_Builder, OnnxNode], None]] = {
    "Add": _Builder.add,
    "AveragePool": _Builder.pool,
    "BatchNormalization": _Builder.norm,
    "Clip": _Builder.clip,
    "Concat": _Builder.concat,
    "Conv": _Builder.convolution,
    "ConvTranspose": _Builder.transposed,
    "DepthToSpace": _Builder.depth_to_space,
    "Div": _Builder.arithmetic,
    "Dropout": _Builder.same,
    "Flatten": _Builder.flatten,
    "Gather": _Builder.gather,
    "Gelu": _Builder.gelu,
    "Gemm": _Builder.linear,
    "GlobalAveragePool": _Builder.global_average,
    "Identity": _Builder.same,
    "MatMul": _Builder.linear,
    "MaxPool": _Builder.pool,
    "Mul": _Builder.arithmetic,
    "Neg": _Builder.negative,
    "PRelu": _Builder.prelu,
    "Pad": _Builder.pad,
    "ReduceMean": _Builder.mean,
    "Reshape": _Builder.reshape,
    "Resize": _Builder.resize,
    "Slice": _Builder.slice,
    "Split": _Builder.split,
    "Sub": _Builder.arithmetic,
    "Transpose": _Builder.transpose,
    **dict.fromkeys((*PLAIN, *SHAPED), _Builder.function),
}
