"""From a traced user model to layers: batch norm folded, activations and additions fused into convolutions."""

from collections.abc import Callable
from math import inf
from typing import Any, NoReturn

import torch
from torch import fx, nn
from torch.export import ExportedProgram

from twofold.train.compare import Reference, random_inputs
from twofold.train.data import InputFormat
from twofold.train.draft import Draft, Value
from twofold.train.formula import Formula, write_formulas
from twofold.train.graph import (
    BATCH,
    DROPOUTS,
    MODULES,
    OPERATIONS,
    SAME,
    TYPES,
    UnknownOperationError,
    arguments,
    called,
    is_shared,
    result_shape,
)
from twofold.train.layers import QuantLayer
from twofold.train.lower_ends import Ends, is_hosts
from twofold.train.picks import arranged
from twofold.train.pointwise import FUNCTIONS, Function, Pointwise
from twofold.train.slopes import write_slopes
from twofold.train.trace import enter, resolve


class Lowering(Ends):
    """Walks the graph of a model and drafts its layers.

    Parameters
    ----------
    model
        What is lowered.
    input
        Shape and format of the input.
    norms
        Convolutions keep their batch norms; otherwise these are folded.
    second
        The model is traced by `torch.export` only.
    """

    def __init__(
        self, model: nn.Module | ExportedProgram, input: InputFormat, *, norms: bool = False, second: bool = False
    ):
        self.norms = norms
        inputs = random_inputs(input)
        graph, wanted, door = enter(model, inputs, second=second)
        super().__init__(graph, signed=input.signed)
        self.reference = Reference(self.graph, inputs, wanted, door)
        resolve(self.graph, input.shape)
        write_formulas(self.graph, self.reference.values)
        write_slopes(self.graph, self.reference.values)
        self.input_shape = input.map_shape

    def run(self) -> list[QuantLayer]:
        """The layers, in order."""
        for node in self.graph.graph.nodes:
            if node.op == "placeholder":
                if self.values:
                    raise ValueError(f"Model must have one input, not {node.target!r} too")
                flat, shape = len(result_shape(node)) == 2, self.input_shape
                self.values[node] = Value.of(None, shape, shared=is_shared(node), flat=flat, node=node)
            elif node.op == "output":
                return self._end(node)
            elif all(source in self.constants for source in node.all_input_nodes):
                self._keep_constant(node)
            elif "tensor_meta" not in node.meta:
                continue  # a size, computed from shapes
            elif any(source in self.host for source in node.all_input_nodes if source not in self.values):
                self._move(node)
            else:
                try:
                    self._keep(node, self._lower(node))
                except ValueError as error:
                    if not self._moves_to_end(node):
                        raise
                    self._begin_end(node, error)
        raise ValueError("Model must have an output, not none")

    def _keep_constant(self, node: fx.Node) -> None:
        """Write down what the model computes from no input."""
        value = self.reference.values.get(node)
        if value is not None:
            self.constants[node] = value

    # One node

    def _lower(self, node: fx.Node) -> Value | list[Value]:
        if node.op == "call_module":
            module = self.graph.get_submodule(str(node.target))
            kind = type(module).__name__
            if TYPES.get(kind) is not type(module):
                self._refuse(node, kind, MODULES)
            return self._module(node, module)
        if isinstance(node.target, Formula):
            return self._function(node, node.target)
        name = called(node).strip("_")
        handler = HANDLERS.get(name)
        if handler is None and name in FUNCTIONS:
            return self._function(node, Pointwise.of_call(name, node))
        if handler is None:
            self._refuse(node, name, OPERATIONS)
        return handler(self, node)

    def _refuse(self, node: fx.Node, name: str, known: tuple[str, ...]) -> NoReturn:
        if is_hosts(name) and all(user.op == "output" for user in node.users):
            raise ValueError(f"{self._where(node)} must be left to the host, which gets what it takes, not be {name!r}")
        raise UnknownOperationError(f"{self._where(node)} must be one of {known}, not {name!r}", name)

    def _module(self, node: fx.Node, module: nn.Module) -> Value:
        if isinstance(module, (nn.Conv1d, nn.Conv2d)):
            return self._conv(node, module)
        if isinstance(module, (nn.ConvTranspose1d, nn.ConvTranspose2d)):
            return self._transposed(node, module)
        if isinstance(module, nn.Linear):
            return self._linear(node, module)
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            return self._norm(node, module)
        if isinstance(module, nn.ReLU):
            return self._relu(node)
        if isinstance(module, nn.ReLU6):
            return self._relu(node, limit=6.0)
        if isinstance(module, nn.Hardtanh):
            return self._clipped(node, module.min_val, module.max_val)
        try:
            function = Pointwise.of_module(module)
        except ValueError as error:
            raise ValueError(f"{self._where(node)}: {error}") from error
        if function is not None:
            return self._function(node, function)
        if isinstance(module, (nn.MaxPool1d, nn.MaxPool2d)):
            return self._max(
                node, module.kernel_size, module.stride, module.padding, module.dilation, module.return_indices
            )
        if isinstance(module, (nn.AvgPool1d, nn.AvgPool2d)):
            divisor = getattr(module, "divisor_override", None)
            return self._average(
                node, module.kernel_size, module.stride, module.padding, module.count_include_pad, divisor
            )
        if isinstance(module, (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d)):
            return self._adaptive(node)
        if isinstance(module, (nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d)):
            return self._adaptive_max(node)
        if isinstance(module, (nn.ConstantPad1d, nn.ConstantPad2d)):  # ZeroPad too
            return self._pad(node, tuple(module.padding), "constant", module.value)
        if isinstance(module, nn.Upsample):
            return self._upsample(node, module)
        if isinstance(module, nn.PixelShuffle):
            return self._pixels(node, (module.upscale_factor, module.upscale_factor))
        if isinstance(module, nn.PixelUnshuffle):
            return self._unshuffled(node, module.downscale_factor)
        if isinstance(module, nn.ChannelShuffle):
            return self._shuffled(node, module.groups)
        if isinstance(module, nn.Unflatten):
            return self._reshaped(node)
        if isinstance(module, nn.Flatten):
            return self._flatten(node, module.start_dim, module.end_dim)
        return self._alias(node)

    def _linear(self, node: fx.Node, linear: nn.Linear) -> Value:
        source = self._input(node)
        if not source.flat:
            raise ValueError(f"{self._where(node)} must take a flattened tensor, not one of shape {source.shape!r}")
        weight = linear.weight.detach().clone().reshape(linear.out_features, *source.shape)
        reads, weight, _ = arranged(source.picks, weight)
        draft = Draft(
            self._name(node),
            "linear",
            (linear.out_features, 1, 1),
            weight=weight,
            bias=torch.zeros(linear.out_features) if linear.bias is None else linear.bias.detach().clone(),
            reads=reads,
        )
        self.drafts.append(draft)
        return self._result(node, draft, flat=True)

    def _function(self, node: fx.Node, function: Function) -> Value:
        """A function by table, behind the rounding of the layers before, or of a copy."""
        source = self._filled(node, 0)
        parts, order = self._ordered(source)
        if all(self._may_fuse(parts, pick) for pick in parts.picks):
            for pick in parts.picks:
                assert pick.draft is not None
                pick.draft.function, pick.draft.nonnegative = function, function.nonnegative
            return self._alias(node)
        draft = self._sum(node, parts)
        draft.function, draft.nonnegative = function, function.nonnegative
        return self._result(node, draft, flat=source.flat, order=order)

    def _relu(self, node: fx.Node, limit: float | None = None) -> Value:
        source = self._filled(node, 0)
        parts, order = self._ordered(source)
        never = [limit is None and self._never_negative(pick) for pick in parts.picks]
        good = [done or self._may_fuse(parts, pick) for done, pick in zip(never, parts.picks, strict=True)]
        if not all(good):
            draft = self._sum(node, parts)
            draft.relu, draft.nonnegative, draft.limit = True, True, limit
            return self._result(node, draft, flat=source.flat, order=order)
        for done, pick in zip(never, parts.picks, strict=True):
            if not done and pick.draft is not None:
                pick.draft.relu, pick.draft.nonnegative, pick.draft.limit = True, True, limit
        return self._alias(node)

    def _flatten(self, node: fx.Node, start: int, end: int) -> Value:
        dims = self._dims(node)
        if self._operand(node, 0, split=True).split:
            return self._reshaped(node)
        self._input(node)
        if start % dims != 1 or end % dims != dims - 1:
            raise ValueError(f"{self._where(node)}: flatten must be from dimension 1 to the last, not {(start, end)!r}")
        return self._alias(node, flat=True)

    # Functions and methods

    def _call_flatten(self, node: fx.Node) -> Value:
        start, end = arguments(node, start_dim=0, end_dim=-1)
        return self._flatten(node, start, end)

    def _call_view(self, node: fx.Node) -> Value:
        if len(result_shape(node)) != 2 or self._operand(node, 0, split=True).split:
            return self._reshaped(node)
        self._input(node)
        if result_shape(node)[0] != BATCH:
            raise ValueError(f"{self._where(node)}: view must be to (batch, -1), not to {tuple(result_shape(node))!r}")
        return self._alias(node, flat=True)

    def _call_squeeze(self, node: fx.Node) -> Value:
        source, shape = self._input(node), result_shape(node)
        if shape[:2] != (BATCH, source.shape[0]) or source.shape[1:].count(1) < self._dims(node) - len(shape):
            raise ValueError(f"{self._where(node)}: squeeze must leave batch and channels, not {shape!r}")
        return self._alias(node, flat=len(shape) == 2)

    def _call_relu6(self, node: fx.Node) -> Value:
        return self._relu(node, limit=6.0)

    def _call_hardtanh(self, node: fx.Node) -> Value:
        return self._clipped(node, *arguments(node, min_val=-1.0, max_val=1.0))

    def _call_clamp(self, node: fx.Node) -> Value:
        low, high = arguments(node, min=None, max=None)
        if "clamp_max" in called(node):
            low, high = None, low if high is None else high
        return self._clipped(node, -inf if low is None else low, inf if high is None else high)

    def _clipped(self, node: fx.Node, low: Any, high: Any) -> Value:
        """A clip; one that begins at 0 is a ReLU."""
        if not all(isinstance(bound, (int, float)) for bound in (low, high)):
            raise ValueError(f"{self._where(node)}: bounds must be numbers, not {(low, high)!r}")
        if low == 0 and high > 0:
            return self._relu(node, limit=None if high == inf else float(high))
        return self._function(node, Pointwise("hardtanh", (("min_val", float(low)), ("max_val", float(high)))))


#: What lowers a function, method or operator, by its name.
HANDLERS: dict[str, Callable[[Lowering, fx.Node], Value | list[Value]]] = {
    "add": Lowering._add,
    "iadd": Lowering._add,
    **dict.fromkeys(("sub", "isub", "subtract"), Lowering._call_sub),
    "rsub": Lowering._call_rsub,
    **dict.fromkeys(("mul", "imul", "multiply"), Lowering._call_mul),
    **dict.fromkeys(("div", "truediv", "itruediv", "divide", "true_divide"), Lowering._call_div),
    **dict.fromkeys(("neg", "negative"), Lowering._call_neg),
    "relu": Lowering._relu,
    "relu6": Lowering._call_relu6,
    "hardtanh": Lowering._call_hardtanh,
    **dict.fromkeys(("clamp", "clip", "clamp_min", "clamp_max"), Lowering._call_clamp),
    "squeeze": Lowering._call_squeeze,
    "flatten": Lowering._call_flatten,
    "view": Lowering._call_view,
    "reshape": Lowering._call_view,
    "max_pool1d": Lowering._call_max_pool,
    "max_pool2d": Lowering._call_max_pool,
    "avg_pool1d": Lowering._call_average,
    "avg_pool2d": Lowering._call_average,
    "adaptive_avg_pool1d": Lowering._adaptive,
    "adaptive_avg_pool2d": Lowering._adaptive,
    "mean": Lowering._mean,
    "sum": Lowering._sum_over,
    "amax": Lowering._amax,
    **dict.fromkeys(("adaptive_max_pool1d", "adaptive_max_pool2d"), Lowering._adaptive_max),
    **dict.fromkeys((*DROPOUTS, *SAME), Lowering._alias),
    "getitem": Lowering._call_getitem,
    "cat": Lowering._call_cat,
    "concat": Lowering._call_cat,
    "concatenate": Lowering._call_cat,
    "chunk": Lowering._call_parts,
    "split": Lowering._call_parts,
    "split_with_sizes": Lowering._call_parts,
    "tensor_split": Lowering._call_parts,
    "unbind": Lowering._call_parts,
    "channel_shuffle": Lowering._call_shuffle,
    "interpolate": Lowering._call_interpolate,
    **dict.fromkeys(("upsample_nearest1d", "upsample_nearest2d"), Lowering._call_nearest),
    **dict.fromkeys(("upsample_linear1d", "upsample_bilinear2d"), Lowering._call_linear),
    "pixel_shuffle": Lowering._call_pixel_shuffle,
    "pixel_unshuffle": Lowering._call_pixel_unshuffle,
    "stack": Lowering._call_stack,
    "expand": Lowering._call_expand,
    **dict.fromkeys(("flip", "roll", "index_select", "narrow", "movedim", "moveaxis"), Lowering._moved_like),
    **dict.fromkeys(("repeat", "tile", "unsqueeze"), Lowering._moved_like),
    "repeat_interleave": Lowering._call_repeat_interleave,
    "unflatten": Lowering._reshaped,
    "transpose": Lowering._call_transpose,
    "swapaxes": Lowering._call_transpose,
    "swapdims": Lowering._call_transpose,
    "permute": Lowering._call_permute,
    "pad": Lowering._call_pad,
}
