"""Functions that are called with the model's own weights, as the layers that they are."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn

from twofold.support.names import free_name
from twofold.train.graph import arguments, called, is_aten, is_layer, place


def evaluated(module: fx.GraphModule, argument: Any) -> Any:
    """What a node computes from no input; whatever is no node is itself.

    Raises
    ------
    LookupError
        If it depends on the input.
    """
    if not isinstance(argument, fx.Node):
        return argument
    if argument.op == "get_attr":
        parent, _, name = str(argument.target).rpartition(".")
        return getattr(module.get_submodule(parent), name)
    if argument.op not in ("call_function", "call_method"):
        raise LookupError(argument.name)
    args, kwargs = fx.map_arg((argument.args, argument.kwargs), lambda node: evaluated(module, node))
    if isinstance(argument.target, str):
        return getattr(args[0], argument.target)(*args[1:], **kwargs)
    return argument.target(*args, **kwargs)


def make_layers(module: fx.GraphModule) -> None:
    """Have a graph call layers where it calls functions with weights of its own; others stay."""
    made: dict[str, nn.Module] = {}
    for node in list(module.graph.nodes):
        make = LAYERS.get(called(node)) if node.op == "call_function" else None
        if make is None:
            continue
        try:
            with torch.no_grad():
                layer, source = make(module, node)
        except LookupError:
            continue
        path = ".".join(filter(None, (place(node), called(node))))
        path = place(node) if is_layer(node) else free_name(path, made.__contains__)
        if path not in made:
            made[path] = layer
            module.add_submodule(path, layer)
        with module.graph.inserting_before(node):
            call = module.graph.call_module(path, (source,))
        call.meta = dict(node.meta)
        node.replace_all_uses_with(call)
        module.graph.erase_node(node)


def _given(module: fx.GraphModule, node: fx.Node, **defaults: Any) -> list[Any]:
    return [evaluated(module, argument) for argument in arguments(node, **defaults)]


def _filled(layer: nn.Module, **tensors: Tensor | None) -> nn.Module:
    """The layer with these parameters and buffers."""
    for name, tensor in tensors.items():
        if name in layer._buffers:
            layer._buffers[name] = tensor
        else:
            layer._parameters[name] = None if tensor is None else nn.Parameter(tensor.detach().float())
    return layer.eval()


def _conv(module: fx.GraphModule, node: fx.Node) -> tuple[nn.Module, Any]:
    weight, bias, stride, padding, dilation, groups = _given(
        module, node, weight=None, bias=None, stride=1, padding=0, dilation=1, groups=1
    )
    kind: Any = nn.Conv1d if called(node) == "conv1d" else nn.Conv2d
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    plain = {key: tuple(value) if isinstance(value, list) else value for key, value in options.items()}
    layer = kind(weight.shape[1] * groups, len(weight), tuple(weight.shape[2:]), device="meta", **plain)
    return _filled(layer, weight=weight, bias=bias), node.args[0]


def _transposed(module: fx.GraphModule, node: fx.Node) -> tuple[nn.Module, Any]:
    weight, bias, stride, padding, output_padding, groups, dilation = _given(
        module, node, weight=None, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1
    )
    kind: Any = nn.ConvTranspose1d if called(node) == "conv_transpose1d" else nn.ConvTranspose2d
    options = {"stride": stride, "padding": padding, "output_padding": output_padding, "dilation": dilation}
    plain = {key: tuple(value) if isinstance(value, list) else value for key, value in options.items()}
    shape = (len(weight), weight.shape[1] * groups, tuple(weight.shape[2:]))
    return _filled(kind(*shape, groups=groups, device="meta", **plain), weight=weight, bias=bias), node.args[0]


def _linear(module: fx.GraphModule, node: fx.Node) -> tuple[nn.Module, Any]:
    weight, bias = _given(module, node, weight=None, bias=None)
    return _filled(nn.Linear(weight.shape[1], len(weight), device="meta"), weight=weight, bias=bias), node.args[0]


def _prelu(module: fx.GraphModule, node: fx.Node) -> tuple[nn.Module, Any]:
    (weight,) = _given(module, node, weight=None)
    return _filled(nn.PReLU(weight.numel(), device="meta"), weight=weight.flatten()), node.args[0]


def _batch_norm(module: fx.GraphModule, node: fx.Node) -> tuple[nn.Module, Any]:
    weights, statistics = {"weight": None, "bias": None}, {"running_mean": None, "running_var": None}
    order = weights | statistics if is_aten(node) else statistics | weights
    *tensors, training, momentum, eps = _given(module, node, **order, training=False, momentum=0.1, eps=1e-5)
    given: dict[str, Tensor | None] = dict(zip(order, tensors, strict=True))
    mean = given["running_mean"]
    if training or mean is None:
        raise LookupError("statistics of the batch")
    layer = nn.BatchNorm2d(len(mean), eps, momentum, affine=given["weight"] is not None, device="meta")
    layer.num_batches_tracked = torch.zeros((), dtype=torch.long)
    return _filled(layer, **given), node.args[0]


#: What makes a layer of a function, by its name.
LAYERS: dict[str, Callable[[fx.GraphModule, fx.Node], tuple[nn.Module, Any]]] = {
    "conv1d": _conv,
    "conv2d": _conv,
    "conv_transpose1d": _transposed,
    "conv_transpose2d": _transposed,
    "linear": _linear,
    "batch_norm": _batch_norm,
    "prelu": _prelu,
}
