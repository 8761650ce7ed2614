"""From a traced user model to layers: batch norm folded, activations and additions fused into convolutions."""

from collections.abc import Callable
from typing import Any

import torch
from torch import fx, nn

from twofold.train.compare import Reference, random_inputs
from twofold.train.data import InputFormat
from twofold.train.draft import Draft, Value
from twofold.train.graph import BATCH, MODULES, OPERATIONS, TYPES, arguments, chw, is_shared, result_shape
from twofold.train.layers import QuantLayer
from twofold.train.lower_windows import Windows
from twofold.train.norm import kept_norm
from twofold.train.pointwise import FUNCTIONS, Pointwise
from twofold.train.trace import own_copy, reference, resolve, trace


class Lowering(Windows):
    """Walks the graph of a model and drafts its layers.

    Parameters
    ----------
    model
        What is lowered.
    input
        Shape and format of the input.
    norms
        Convolutions keep their batch norms; otherwise these are folded.
    """

    def __init__(self, model: nn.Module, input: InputFormat, *, norms: bool = False):
        self.norms = norms
        model = own_copy(model)
        inputs = random_inputs(input)
        wanted = reference(model, inputs)
        super().__init__(trace(model), signed=input.signed)
        self.reference = Reference(self.graph, inputs, wanted)
        resolve(self.graph, input.shape)
        self.input_shape = input.map_shape
        self.output_shape: tuple[int, ...] = ()

    def run(self) -> list[QuantLayer]:
        """The layers, in order."""
        for node in self.graph.graph.nodes:
            if node.op == "placeholder":
                if self.values:
                    raise ValueError(f"Model must have one input, not {node.target!r} too")
                flat, shape = len(result_shape(node)) == 2, self.input_shape
                self.values[node] = Value(None, shape, shape, shared=is_shared(node), flat=flat, node=node)
            elif node.op == "output":
                return self._end(node.args[0])
            elif node.op == "get_attr":
                raise ValueError(f"{self._where(node)} must not read a tensor of its own, not {node.target!r}")
            elif "tensor_meta" in node.meta:  # others are sizes, computed from shapes
                value = self.values[node] = self._lower(node)
                if value.draft is not None and value.plain:
                    value.draft.node = node
        raise ValueError("Model must have an output, not none")

    def _end(self, output: Any) -> list[QuantLayer]:
        if not isinstance(output, fx.Node) or output not in self.values:
            raise ValueError(f"Model must return one tensor, not {type(output).__name__}")
        last = self.values[output].draft
        self.output_shape = result_shape(output)[1:]
        if last is None or not self.values[output].plain:
            raise ValueError("Model must end with a layer, not with its input or a slice")
        layers = {draft.name: draft.build() for draft in self.drafts}
        needed = {last.name}
        for name in reversed(layers):
            if name in needed:
                needed.update(layers[name].sources)
        # The output comes last; whatever stands behind it is not needed.
        return [layer for name, layer in layers.items() if name in needed and name != last.name] + [layers[last.name]]

    # One node

    def _lower(self, node: fx.Node) -> Value:
        if node.op == "call_module":
            module = self.graph.get_submodule(str(node.target))
            kind = type(module).__name__
            if TYPES.get(kind) is not type(module):
                raise ValueError(f"{self._where(node)} must be one of {MODULES}, not {kind!r}")
            return self._module(node, module)
        name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", str(node.target))
        name = str(name).strip("_")
        if name in FUNCTIONS:
            return self._function(node, Pointwise.of_call(name, node))
        handler = _HANDLERS.get(name)
        if handler is None:
            raise ValueError(f"{self._where(node)} must be one of {OPERATIONS}, not {name!r}")
        return handler(self, node)

    def _module(self, node: fx.Node, module: nn.Module) -> Value:
        if isinstance(module, (nn.Conv1d, nn.Conv2d)):
            return self._conv(node, module)
        if isinstance(module, nn.Linear):
            return self._linear(node, module)
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            return self._norm(node, module)
        if isinstance(module, nn.ReLU):
            return self._relu(node)
        if isinstance(module, nn.ReLU6):
            return self._relu(node, limit=6.0)
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
        if isinstance(module, (nn.ConstantPad1d, nn.ConstantPad2d)):  # ZeroPad too
            return self._pad(node, tuple(module.padding), "constant", module.value)
        if isinstance(module, nn.Flatten):
            return self._flatten(node, module.start_dim, module.end_dim)
        return self._alias(node)

    def _linear(self, node: fx.Node, linear: nn.Linear) -> Value:
        source = self._input(node)
        if not source.flat:
            raise ValueError(f"{self._where(node)} must take a flattened tensor, not one of shape {source.shape!r}")
        draft = Draft(
            self._name(node),
            "linear",
            (linear.out_features, 1, 1),
            weight=linear.weight.detach().clone().reshape(linear.out_features, *source.shape),
            bias=torch.zeros(linear.out_features) if linear.bias is None else linear.bias.detach().clone(),
            source=source.name,
        )
        self.drafts.append(draft)
        return self._result(node, draft, flat=True)

    def _norm(self, node: fx.Node, norm: nn.BatchNorm1d | nn.BatchNorm2d) -> Value:
        source = self._input(node)
        draft = source.draft
        good = draft is not None and draft.kind in ("conv2d", "linear") and draft.shape[0] == norm.num_features
        if draft is None or not good or not self._open(source) or draft.skips:
            raise ValueError(
                f"{self._where(node)} must follow a convolution or a linear layer whose result is used once"
            )
        if norm.running_mean is None or norm.running_var is None:
            raise ValueError(f"{self._where(node)}: track_running_stats must be True, not False")
        assert draft.weight is not None and draft.bias is not None
        if self.norms and draft.norm is None:
            draft.weight, draft.norm = kept_norm(norm, draft.weight, draft.bias)
            return self._alias(node)
        if draft.norm is not None:
            raise ValueError(f"{self._where(node)} must be the only batch norm of its convolution where norms are kept")
        factor = (norm.running_var + norm.eps).rsqrt()
        factor = factor if norm.weight is None else factor * norm.weight.detach()
        draft.weight = draft.weight * factor.view(-1, 1, 1, 1)
        draft.bias = (draft.bias - norm.running_mean) * factor
        if norm.bias is not None:
            draft.bias = draft.bias + norm.bias.detach()
        return self._alias(node)

    def _function(self, node: fx.Node, function: Pointwise) -> Value:
        """A function by table, behind the rounding of the layer before, or of a copy."""
        source = self._filled(node, 0)
        draft, own = source.draft, source.draft is None or not self._open(source)
        if draft is None or own:
            draft = Draft(self._name(node), "add", source.shape, [source.skip])
            self.drafts.append(draft)
        draft.function, draft.nonnegative = function, function.nonnegative
        return self._result(node, draft, flat=source.flat) if own else self._alias(node)

    def _relu(self, node: fx.Node, limit: float | None = None) -> Value:
        source = self._filled(node, 0)
        draft = source.draft
        if draft is None or not self._open(source):
            if self._nonnegative(source) and limit is None:
                return self._alias(node)
            draft = Draft(self._name(node), "add", source.shape, [source.skip])
            self.drafts.append(draft)
            draft.relu, draft.nonnegative, draft.limit = True, True, limit
            return self._result(node, draft, flat=source.flat)
        draft.relu, draft.nonnegative, draft.limit = True, True, limit
        return self._alias(node)

    def _add(self, node: fx.Node) -> Value:
        left, right = self._filled(node, 0), self._filled(node, 1)
        if node.kwargs.get("alpha", 1) != 1:
            raise ValueError(f"{self._where(node)}: alpha must be 1, not {node.kwargs['alpha']!r}")
        if result_shape(node.args[0]) != result_shape(node.args[1]):
            raise ValueError(
                f"{self._where(node)}: operands must have the same shape, "
                f"not {result_shape(node.args[0])} and {result_shape(node.args[1])}"
            )
        order = sorted(
            ((a, b) for a, b in ((left, right), (right, left)) if self._open(a) and a.draft is not b.draft),
            key=lambda pair: self.drafts.index(pair[0].draft),  # type: ignore[arg-type]
        )
        if not order:
            draft = Draft(
                self._name(node),
                "add",
                chw(node),
                [left.skip, right.skip],
                nonnegative=self._nonnegative(left) and self._nonnegative(right),
            )
            self.drafts.append(draft)
            return self._result(node, draft, flat=left.flat)
        fused, other = order[-1]
        assert fused.draft is not None
        fused.draft.skips.append(other.skip)
        fused.draft.nonnegative = fused.draft.nonnegative and self._nonnegative(other)
        # Its result is first needed here, so it may wait for the other operand.
        self.drafts.remove(fused.draft)
        self.drafts.append(fused.draft)
        return self._result(node, fused.draft, flat=fused.flat)

    def _flatten(self, node: fx.Node, start: int, end: int) -> Value:
        self._input(node)
        dims = self._dims(node)
        if start != 1 or end % dims != dims - 1:
            raise ValueError(f"{self._where(node)}: flatten must be from dimension 1 to the last, not {(start, end)!r}")
        return self._alias(node, flat=True)

    # Functions and methods

    def _call_flatten(self, node: fx.Node) -> Value:
        start, end = arguments(node, start_dim=0, end_dim=-1)
        return self._flatten(node, start, end)

    def _call_view(self, node: fx.Node) -> Value:
        self._input(node)
        if len(result_shape(node)) != 2 or result_shape(node)[0] != BATCH:
            raise ValueError(f"{self._where(node)}: view must be to (batch, -1), not to {tuple(result_shape(node))!r}")
        return self._alias(node, flat=True)

    def _call_relu6(self, node: fx.Node) -> Value:
        return self._relu(node, limit=6.0)


_HANDLERS: dict[str, Callable[[Lowering, fx.Node], Value]] = {
    "add": Lowering._add,
    "iadd": Lowering._add,
    "relu": Lowering._relu,
    "relu6": Lowering._call_relu6,
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
    "dropout": Lowering._alias,
    "contiguous": Lowering._alias,
    "getitem": Lowering._call_slice,
    "pad": Lowering._call_pad,
}
