"""What lowering knows, and small readings of a traced graph."""

from typing import Any

from torch import fx, nn
from torch.fx.passes.shape_prop import TensorMetadata

from twofold.golden.network import Pair

#: Layers that are known, by name; their subclasses are looked into.
TYPES: dict[str, type[nn.Module]] = {
    kind.__name__: kind
    for kind in (
        nn.Conv1d,
        nn.Conv2d,
        nn.ConvTranspose1d,
        nn.ConvTranspose2d,
        nn.Linear,
        nn.BatchNorm1d,
        nn.BatchNorm2d,
        nn.ReLU,
        nn.ReLU6,
        nn.Hardtanh,
        nn.LeakyReLU,
        nn.PReLU,
        nn.Sigmoid,
        nn.Hardsigmoid,
        nn.Hardswish,
        nn.SiLU,
        nn.Tanh,
        nn.ELU,
        nn.CELU,
        nn.SELU,
        nn.GELU,
        nn.Softplus,
        nn.Mish,
        nn.Softsign,
        nn.MaxPool1d,
        nn.MaxPool2d,
        nn.AvgPool1d,
        nn.AvgPool2d,
        nn.AdaptiveAvgPool1d,
        nn.AdaptiveAvgPool2d,
        nn.AdaptiveMaxPool1d,
        nn.AdaptiveMaxPool2d,
        nn.ZeroPad1d,
        nn.ZeroPad2d,
        nn.ConstantPad1d,
        nn.ConstantPad2d,
        nn.Flatten,
        nn.Unflatten,
        nn.ChannelShuffle,
        nn.PixelShuffle,
        nn.PixelUnshuffle,
        nn.Upsample,
        nn.UpsamplingNearest2d,
        nn.UpsamplingBilinear2d,
        nn.Dropout,
        nn.Dropout1d,
        nn.Dropout2d,
        nn.Dropout3d,
        nn.AlphaDropout,
        nn.FeatureAlphaDropout,
        nn.Identity,
    )
}
MODULES = tuple(TYPES)
#: What drops values in training, and does nothing in evaluation: layers and functions.
DROPOUTS = (
    *("Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout", "FeatureAlphaDropout"),
    *("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_dropout", "feature_alpha_dropout"),
)
#: What gives the values that it takes.
SAME = ("contiguous", "clone", "detach", "alias", "lift_fresh_copy", "float", "to", "type_as")
#: Images of the example that shapes are read from; not 1, so that a batch size written into the model shows.
BATCH = 2
OPERATIONS = (
    "add",
    "sub",
    "mul, div or neg with a constant",
    "mul, div, maximum or minimum, pow, abs, exp or erf of functions of one tensor",
    "conv1d, conv2d, conv_transpose1d, conv_transpose2d, linear, batch_norm or prelu with weights of the model's own",
    "relu",
    "relu6",
    "hardtanh, clamp, clip, clamp_min or clamp_max",
    "leaky_relu",
    "sigmoid",
    "hardsigmoid",
    "hardswish",
    "silu",
    "tanh",
    "elu",
    "celu",
    "selu",
    "gelu",
    "softplus",
    "mish",
    "softsign",
    "max_pool1d",
    "max_pool2d",
    "avg_pool1d",
    "avg_pool2d",
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "mean, sum or amax over height and width",
    "flatten",
    "squeeze of height and width",
    "view or reshape to (batch, -1)",
    "dropout of any kind",
    "contiguous, clone, detach, float, to or type_as",
    "slice of channels or positions",
    "cat or stack over channels",
    "chunk, split, tensor_split or unbind of channels",
    "channel_shuffle",
    "pixel_shuffle",
    "pixel_unshuffle",
    "interpolate to the nearest or bilinearly",
    "view, unflatten, transpose, permute, movedim, unsqueeze, expand, flip, roll, index_select, narrow, repeat or "
    "repeat_interleave of channels",
    "expand of one position",
    "pad with zeros",
)


class UnknownOperationError(ValueError):
    """There is no layer for an operation of that name."""

    def __init__(self, message: str, name: str):
        super().__init__(message)
        self.name = name


def result_shape(node: Any) -> tuple[int, ...]:
    """Shape of a node's result, the first of several, the batch included; () for a number."""
    meta = node.meta.get("tensor_meta") if isinstance(node, fx.Node) else None
    meta = meta[0] if isinstance(meta, (tuple, list)) and not isinstance(meta, TensorMetadata) else meta
    return tuple(meta.shape) if isinstance(meta, TensorMetadata) else ()


def place(node: fx.Node) -> str:
    """Path, in the user's model, of the module that the node is or whose forward holds it; empty: the model itself."""
    if node.op == "call_module":
        return str(node.target)
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    return stack[-1][0] if stack and isinstance(stack[-1], tuple) else ""


def is_layer(node: fx.Node) -> bool:
    """Whether a node is a whole layer of the user's model."""
    return node.op == "call_module" or bool(node.meta.get("layer"))


def is_aten(node: fx.Node) -> bool:
    """Whether a node calls one of ATen's operators, as `torch.export` has them."""
    return hasattr(node.target, "_schema")


def called(node: fx.Node) -> str:
    """Name of the function, method or operator that a node calls."""
    schema = getattr(node.target, "_schema", None)
    if schema is not None:
        return str(schema.name).rpartition("::")[2]
    return node.target if isinstance(node.target, str) else str(getattr(node.target, "__name__", node.target))


def is_shared(node: fx.Node) -> bool:
    """Whether more than one operation takes the node's values; reading its size does not count."""
    return sum("tensor_meta" in user.meta or user.op == "output" for user in node.users) > 1


def chw(node: fx.Node) -> tuple[int, int, int]:
    """(channels, height, width) of a node's result; a series is a map of height 1."""
    shape = result_shape(node)
    if len(shape) == 4:
        return shape[1], shape[2], shape[3]
    return shape[1], 1, shape[2] if len(shape) == 3 else 1


def pair(value: Any, rest: int | None = None) -> Pair:
    """A layer's number, or numbers along its axes, as (vertical, horizontal).

    Parameters
    ----------
    rest
        Of layers over series: what their maps of height 1 have vertically.
    """
    numbers = [int(value)] if isinstance(value, int) else [int(number) for number in value]
    if rest is not None:
        return rest, numbers[0]
    return numbers[0], numbers[-1]


def arguments(node: fx.Node, **defaults: Any) -> list[Any]:
    """A call's arguments after the tensor, in the order of `defaults`."""
    given = dict(zip(defaults, node.args[1:], strict=False)) | dict(node.kwargs)
    return [given.get(name, default) for name, default in defaults.items()]
