"""From a traced user model to layers: batch norm folded, activations and additions fused into convolutions."""

from collections.abc import Callable
from typing import Any

import torch
from torch import fx, nn

from twofold.golden.network import INPUT, Pair
from twofold.train.compare import Reference, random_inputs
from twofold.train.data import InputFormat
from twofold.train.draft import Draft, Value
from twofold.train.graph import BATCH, MODULES, OPERATIONS, TYPES, arguments, chw, is_shared, pair, place, result_shape
from twofold.train.layers import QuantLayer
from twofold.train.norm import kept_norm
from twofold.train.trace import own_copy, reference, resolve, trace


class Lowering:
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
        self.graph = trace(model)
        self.reference = Reference(self.graph, inputs, wanted)
        resolve(self.graph, input.shape)
        shape = input.shape
        self.input_shape: tuple[int, int, int] = (shape[0], 1, 1) if len(shape) == 1 else tuple(shape)  # type: ignore[assignment]
        self.signed = input.signed
        self.output_shape: tuple[int, ...] = ()
        self.drafts: list[Draft] = []
        self.values: dict[fx.Node, Value] = {}
        self.names: set[str] = {INPUT}

    def run(self) -> list[QuantLayer]:
        """The layers, in order."""
        for node in self.graph.graph.nodes:
            if node.op == "placeholder":
                if self.values:
                    raise ValueError(f"Model must have one input, not {node.target!r} too")
                shared = is_shared(node)
                self.values[node] = Value(None, self.input_shape, shared=shared, flat=len(result_shape(node)) == 2)
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

    @property
    def places(self) -> dict[str, fx.Node]:
        """Node that each layer gives the value of."""
        return {draft.name: draft.node for draft in self.drafts if draft.node is not None}

    # Names and errors

    def _where(self, node: fx.Node) -> str:
        kind = "Layer" if node.op == "call_module" else "Operation in"
        return f"{kind} {place(node) or 'the model itself'!r}"

    def _name(self, node: fx.Node) -> str:
        base = place(node)
        if node.op != "call_module":
            base = f"{base}.{node.name}" if base else node.name
        name, number = base, 1
        while name in self.names:
            number += 1
            name = f"{base}_{number}"
        self.names.add(name)
        return name

    # One node

    def _lower(self, node: fx.Node) -> Value:
        if node.op == "call_module":
            module = self.graph.get_submodule(str(node.target))
            kind = type(module).__name__
            if TYPES.get(kind) is not type(module):
                raise ValueError(f"{self._where(node)} must be one of {MODULES}, not {kind!r}")
            return self._module(node, module)
        name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", str(node.target))
        handler = _HANDLERS.get(str(name).strip("_"))
        if handler is None:
            raise ValueError(f"{self._where(node)} must be one of {OPERATIONS}, not {str(name)!r}")
        return handler(self, node)

    def _module(self, node: fx.Node, module: nn.Module) -> Value:
        if isinstance(module, nn.Conv2d):
            return self._conv(node, module)
        if isinstance(module, nn.Linear):
            return self._linear(node, module)
        if isinstance(module, nn.BatchNorm2d):
            return self._norm(node, module)
        if isinstance(module, nn.ReLU):
            return self._relu(node)
        if isinstance(module, nn.ReLU6):
            return self._relu(node, limit=6.0)
        if isinstance(module, nn.MaxPool2d):
            if module.return_indices:
                raise ValueError(f"{self._where(node)}: return_indices must be False, not True")
            return self._pool(
                node, "maxpool", module.kernel_size, module.stride, module.padding, module.dilation, module.ceil_mode
            )
        if isinstance(module, nn.AvgPool2d):
            return self._average(
                node, module.kernel_size, module.stride, module.padding, module.ceil_mode, module.count_include_pad,
                module.divisor_override,
            )  # fmt: skip
        if isinstance(module, nn.AdaptiveAvgPool2d):
            return self._adaptive(node)
        if isinstance(module, nn.Flatten):
            return self._flatten(node, module.start_dim, module.end_dim)
        return self._alias(node)

    def _input(self, node: fx.Node, position: int = 0) -> Value:
        """The node's source, which must be a plain tensor."""
        value = self._operand(node, position)
        if not value.plain:
            raise ValueError(f"{self._where(node)} must not take a sliced or padded tensor: only an addition may")
        return value

    def _operand(self, node: fx.Node, position: int) -> Value:
        argument = node.args[position] if position < len(node.args) else None
        if not isinstance(argument, fx.Node) or argument not in self.values:
            raise ValueError(f"{self._where(node)} must take a tensor as argument {position + 1}, not {argument!r}")
        return self.values[argument]

    def _result(self, node: fx.Node, draft: Draft, *, flat: bool = False) -> Value:
        return Value(draft, draft.shape, shared=is_shared(node), flat=flat)

    def _alias(self, node: fx.Node, **changes: Any) -> Value:
        source = self._operand(node, 0)
        keep: dict[str, Any] = {
            "stride": source.stride,
            "channel": source.channel,
            "flat": source.flat,
            "shape": source.shape,
        }
        return Value(source.draft, shared=source.shared or is_shared(node), **(keep | changes))

    def _nonnegative(self, value: Value) -> bool:
        return not self.signed if value.draft is None else value.draft.nonnegative or value.draft.relu

    def _conv(self, node: fx.Node, conv: nn.Conv2d) -> Value:
        source = self._input(node)
        if conv.padding_mode != "zeros":
            raise ValueError(f"{self._where(node)}: padding_mode must be 'zeros', not {conv.padding_mode!r}")
        kernel, dilation = pair(conv.kernel_size), pair(conv.dilation)
        if conv.padding == "same":
            if any((k - 1) * d % 2 for k, d in zip(kernel, dilation, strict=True)):
                raise ValueError(
                    f"{self._where(node)}: padding must be the same on both sides, not 'same' for {kernel!r}"
                )
            padding: Pair = ((kernel[0] - 1) * dilation[0] // 2, (kernel[1] - 1) * dilation[1] // 2)
        else:
            padding = (0, 0) if conv.padding == "valid" else pair(conv.padding)
        draft = Draft(
            self._name(node), "conv2d", chw(node), weight=conv.weight.detach().clone(),
            bias=torch.zeros(conv.out_channels) if conv.bias is None else conv.bias.detach().clone(),
            source=source.name,
            geometry={"stride": pair(conv.stride), "padding": padding, "dilation": dilation, "groups": conv.groups},
        )  # fmt: skip
        self.drafts.append(draft)
        return self._result(node, draft)

    def _linear(self, node: fx.Node, linear: nn.Linear) -> Value:
        source = self._input(node)
        if not source.flat:
            raise ValueError(f"{self._where(node)} must take a flattened tensor, not one of shape {source.shape!r}")
        draft = Draft(
            self._name(node), "linear", (linear.out_features, 1, 1),
            weight=linear.weight.detach().clone().reshape(linear.out_features, *source.shape),
            bias=torch.zeros(linear.out_features) if linear.bias is None else linear.bias.detach().clone(),
            source=source.name,
        )  # fmt: skip
        self.drafts.append(draft)
        return self._result(node, draft, flat=True)

    def _norm(self, node: fx.Node, norm: nn.BatchNorm2d) -> Value:
        source = self._input(node)
        draft = source.draft
        if draft is None or not self._open(source) or draft.kind != "conv2d" or draft.skips:
            raise ValueError(f"{self._where(node)} must follow a convolution whose result is used once")
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

    @staticmethod
    def _open(value: Value) -> bool:
        """Whether something may still be fused into the value's layer."""
        draft = value.draft
        return (
            draft is not None and not value.shared and value.plain and not draft.relu and draft.kind not in _POOLS
        )  # fmt: skip

    def _relu(self, node: fx.Node, limit: float | None = None) -> Value:
        source = self._input(node)
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
        left, right = self._operand(node, 0), self._operand(node, 1)
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
                self._name(node), "add", chw(node), [left.skip, right.skip],
                nonnegative=self._nonnegative(left) and self._nonnegative(right),
            )  # fmt: skip
            self.drafts.append(draft)
            return self._result(node, draft, flat=left.flat)
        fused, other = order[-1]
        assert fused.draft is not None
        fused.draft.skips.append(other.skip)
        fused.draft.nonnegative = fused.draft.nonnegative and self._nonnegative(other)
        # Its result is first needed here, so it may wait for the other operand.
        self.drafts.remove(fused.draft)
        self.drafts.append(fused.draft)
        return Value(fused.draft, fused.shape, shared=is_shared(node), flat=fused.flat)

    def _pool(
        self, node: fx.Node, kind: str, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool
    ) -> Value:
        source = self._input(node)
        if ceil_mode:
            raise ValueError(f"{self._where(node)}: ceil_mode must be False, not True")
        geometry = {
            "kernel": pair(kernel), "stride": pair(kernel if stride is None else stride), "padding": pair(padding),
            "dilation": pair(dilation),
        }  # fmt: skip
        draft = Draft(
            self._name(node), kind, chw(node), source=source.name,
            nonnegative=self._nonnegative(source), geometry=geometry,
        )  # fmt: skip
        self.drafts.append(draft)
        return self._result(node, draft, flat=len(result_shape(node)) == 2)

    def _average(
        self, node: fx.Node, kernel: Any, stride: Any, padding: Any, ceil_mode: bool, count_pad: bool, divisor: Any
    ) -> Value:
        if max(pair(padding)) and not count_pad:
            raise ValueError(f"{self._where(node)}: count_include_pad must be True where there is padding, not False")
        if divisor is not None:
            raise ValueError(f"{self._where(node)}: divisor_override must be None, not {divisor!r}")
        return self._pool(node, "avgpool", kernel, stride, padding, 1, ceil_mode)

    def _adaptive(self, node: fx.Node) -> Value:
        source, (_, height, width) = self._input(node), chw(node)
        if source.shape[1] % height or source.shape[2] % width:
            raise ValueError(
                f"{self._where(node)}: output size must divide {source.shape[1:]!r}, not {(height, width)!r}"
            )
        kernel = (source.shape[1] // height, source.shape[2] // width)
        return self._pool(node, "avgpool", kernel, kernel, 0, 1, False)

    def _mean(self, node: fx.Node) -> Value:
        dims = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim")
        source = self._input(node)
        wanted = sorted(d % 4 for d in dims) if isinstance(dims, (tuple, list)) else dims
        if source.flat or wanted != [2, 3]:
            raise ValueError(f"{self._where(node)}: mean must be over height and width, not over {dims!r}")
        return self._pool(node, "avgpool", source.shape[1:], source.shape[1:], 0, 1, False)

    def _flatten(self, node: fx.Node, start: int, end: int) -> Value:
        source = self._input(node)
        dims = 2 if source.flat else 4
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

    def _call_max_pool(self, node: fx.Node) -> Value:
        kernel, stride, padding, dilation, ceil_mode, indices = arguments(
            node, kernel_size=None, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False
        )
        if indices:
            raise ValueError(f"{self._where(node)}: return_indices must be False, not True")
        return self._pool(node, "maxpool", kernel, stride, padding, dilation, ceil_mode)

    def _call_average(self, node: fx.Node) -> Value:
        given = arguments(
            node, kernel_size=None, stride=None, padding=0, ceil_mode=False, count_include_pad=True,
            divisor_override=None,
        )  # fmt: skip
        return self._average(node, *given)

    def _call_slice(self, node: fx.Node) -> Value:
        source, index = self._operand(node, 0), node.args[1]
        steps = [1, 1, 1, 1]
        good = isinstance(index, tuple) and len(index) <= 4
        for axis, item in enumerate(index if isinstance(index, tuple) else ()):
            good = good and isinstance(item, slice) and item.start in (None, 0) and item.stop is None
            if good:
                steps[axis] = item.step or 1
        if not good or steps[:2] != [1, 1] or source.flat or source.channel:
            raise ValueError(f"{self._where(node)}: slice must be [:, :, ::step, ::step], not {index!r}")
        stride = (source.stride[0] * steps[2], source.stride[1] * steps[3])
        return self._alias(node, stride=stride, shape=chw(node))

    def _call_pad(self, node: fx.Node) -> Value:
        source = self._operand(node, 0)
        pads, mode, value = arguments(node, pad=(), mode="constant", value=0)
        pads = tuple(pads) + (0,) * (8 - len(pads))
        if mode != "constant" or value or any(pads[:4]) or any(pads[6:]) or min(pads) < 0 or source.flat:
            raise ValueError(f"{self._where(node)}: pad must be of channels with zeros, not {pads!r} with {value!r}")
        return self._alias(node, channel=source.channel + pads[4], shape=chw(node))


_POOLS = ("maxpool", "avgpool")
_HANDLERS: dict[str, Callable[[Lowering, fx.Node], Value]] = {
    "add": Lowering._add,
    "iadd": Lowering._add,
    "relu": Lowering._relu,
    "relu6": Lowering._call_relu6,
    "flatten": Lowering._call_flatten,
    "view": Lowering._call_view,
    "reshape": Lowering._call_view,
    "max_pool2d": Lowering._call_max_pool,
    "avg_pool2d": Lowering._call_average,
    "adaptive_avg_pool2d": Lowering._adaptive,
    "mean": Lowering._mean,
    "dropout": Lowering._alias,
    "contiguous": Lowering._alias,
    "getitem": Lowering._call_slice,
    "pad": Lowering._call_pad,
}
