"""A graph of quantized values to a network: which value each node makes."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from twofold.exchange import constants
from twofold.exchange.layers import DIGITS, LayerBuilder
from twofold.exchange.model_file import OnnxGraph, OnnxNode
from twofold.exchange.values import Coded, Constant, Most, Plain, Raw, Shape, Sum, Value, as_sum
from twofold.golden.catalog import digit_points
from twofold.golden.config import ArrayConfig
from twofold.golden.network import INPUT, Network, Tensor

#: Domains of QONNX's operators.
QONNX = ("qonnx.custom_op.general", "onnx.brevitas", "finn.custom_op.general")
Handler = Callable[["Reader", OnnxNode], Value]


class Reader:
    """Values by name, while a graph is read; the network as far as it is known."""

    def __init__(self, graph: OnnxGraph, config: ArrayConfig) -> None:
        if len(graph.shape) not in (1, 3):
            raise ValueError(f"Input {graph.input!r} must be (batch, C, H, W) or (batch, C), not of {graph.shape!r}")
        channels, height, width = (*graph.shape, 1, 1)[:3]
        self.graph, self.config = graph, config
        self.shape: Shape = (channels, height, width)
        self.flat = len(graph.shape) == 1
        self.values: dict[str, Value] = {graph.input: Raw()}
        self.values |= {name: Constant(array) for name, array in graph.constants.items()}
        self.builder: LayerBuilder | None = None

    def run(self, handlers: dict[str, Handler]) -> Network:
        """Reads all nodes."""
        for node in self.graph.nodes:
            known = node.domain in ("", "ai.onnx") or (
                node.domain in QONNX and node.operator in ("Quant", "BipolarQuant")
            )
            handler = handlers.get(node.operator) if known else None
            if handler is None:
                raise ValueError(f"{node.where} must be one of {', '.join(sorted(handlers))}")
            self.values[node.outputs[0]] = handler(self, node)
        return self._network()

    def _network(self) -> Network:
        last = self.values.get(self.graph.output)
        if not isinstance(last, (Coded, Plain)) or last.tensor == INPUT or self.builder is None:
            raise ValueError(f"Output {self.graph.output!r} must be quantized, as the result of a layer")
        layers = self.builder.needed(last.tensor)
        report = {layer.name: self.builder.report[layer.name] for layer in layers}
        meta: dict[str, object] = {"build": self.config.name, "layers": report}
        points = {DIGITS: digit_points(self.config.fmt)}
        return Network(self.graph.name or "network", self.builder.tensors[INPUT], tuple(layers), points, meta)

    # Inputs of a node

    def value(self, node: OnnxNode, place: int) -> Value:
        """The value of an input, which must be there."""
        name = node.inputs[place] if place < len(node.inputs) else ""
        if name not in self.values:
            raise ValueError(f"{node.where}: input {place} must be given, not left out")
        return self.values[name]

    def constant(self, node: OnnxNode, place: int) -> Constant:
        """A constant input."""
        value = self.value(node, place)
        if not isinstance(value, Constant):
            raise ValueError(f"{node.where}: input {place} must be constant")
        return value

    def given(self, node: OnnxNode, place: int) -> bool:
        return place < len(node.inputs) and bool(node.inputs[place])

    def number(self, node: OnnxNode, place: int) -> float:
        """A constant of one number."""
        values = self.constant(node, place).values
        if values.size != 1:
            raise ValueError(f"{node.where}: input {place} must be one number, not {values.size}")
        return float(values.reshape(()).astype(np.float64))

    def plain(self, node: OnnxNode, place: int = 0) -> Plain:
        """A quantized tensor."""
        value = self.value(node, place)
        if isinstance(value, Most):
            value = self.values[node.inputs[place]] = self._maximum(node, node.inputs[place], value)
        if not isinstance(value, Plain):
            raise ValueError(f"{node.where}: input {place} must be quantized, not the result of other operations")
        return value

    def sum(self, node: OnnxNode, place: int) -> Sum:
        """A sum without bounds."""
        value = self.value(node, place)
        if isinstance(value, Most):
            value = self.plain(node, place)
        if isinstance(value, Plain) and not any(value.padding):
            return as_sum(value)
        if not isinstance(value, Sum) or value.bounded:
            raise ValueError(f"{node.where}: input {place} must be quantized, or a sum without bounds")
        return value

    def tensor(self, name: str) -> Tensor:
        assert self.builder is not None
        return self.builder.tensors[name]

    # What quantizing makes

    def code(self, node: OnnxNode, value: Value, scale: float, zero: int, low: int, high: int) -> Coded:
        """Integers of a value: those of the input, of a tensor that is there, or of a new layer."""
        bottom, top = (getattr(value, bound, edge) for bound, edge in (("low", -np.inf), ("high", np.inf)))
        low = max(low, int(np.rint(bottom / scale)) + zero) if bottom > -np.inf else low
        high = min(high, int(np.rint(top / scale)) + zero) if top < np.inf else high
        if low > high:
            raise ValueError(f"{node.where}: bounds must leave integers, not {low} to {high}")
        if isinstance(value, Raw):
            return self._start(scale, zero, low, high)
        output = _format(low - zero, high - zero)
        if output is None:
            raise ValueError(
                f"{node.where}: integers without the zero point must have 8 bits, not {low - zero} to {high - zero}; "
                "quantize symmetrically"
            )
        if isinstance(value, Plain):
            if self._same(value, scale, low - zero, high - zero):
                return Coded(value.tensor, zero, value.flat)
            value = self.sum(node, 0)
        if not isinstance(value, (Sum, Most)):
            raise ValueError(f"{node.where}: input must be real numbers that a layer computes")
        name = self._layer(node, node.outputs[0], value, Tensor(value.shape, *output, scale), low - zero, high - zero)
        return Coded(name, zero, value.flat)

    def _layer(self, node: OnnxNode, name: str, value: Sum | Most, tensor: Tensor, low: int, high: int) -> str:
        """Name of a new layer."""
        assert self.builder is not None
        name = name if name != INPUT else f"{INPUT}_"
        try:
            self.builder.add(name, value, tensor, low, high)
        except ValueError as error:
            raise ValueError(f"{node.where}: {error}") from error
        return name

    def _maximum(self, node: OnnxNode, name: str, most: Most) -> Plain:
        """A maximum that is not quantized again: its source's integers."""
        tensor, unit = self.tensor(most.tensor), float(most.unit[0])
        if most.sign < 0 or most.bias.any() or (most.unit != unit).any():
            raise ValueError(f"{node.where}: input must be quantized, not a maximum of negative or scaled numbers")
        low = tensor.low if most.low == -np.inf else max(tensor.low, int(np.rint(most.low / unit)))
        high = tensor.high if most.high == np.inf else min(tensor.high, int(np.rint(most.high / unit)))
        if not tensor.low <= low <= high <= tensor.high:
            raise ValueError(f"{node.where}: bounds must leave integers, not {low} to {high}")
        name = self._layer(node, name, most, replace(tensor, shape=most.shape), low, high)
        return Plain(name, most.shape, unit, flat=most.flat)

    def tighten(self, node: OnnxNode, coded: Coded, low: float, high: float) -> Coded:
        """Integers within bounds: those of the layer that makes them, which nothing else may take."""
        assert self.builder is not None
        name, tensor = node.inputs[0], self.tensor(coded.tensor)
        users = [other for other in self.graph.nodes if name in other.inputs]
        if len(users) > 1 or name == self.graph.output:
            raise ValueError(f"{node.where}: integers that are bounded must not be used without bounds, too")
        ends = [int(min(max(bound - coded.offset, tensor.low), tensor.high)) for bound in (low, high)]
        found = _format(*ends)
        if ends[0] > ends[1] or found is None:
            raise ValueError(f"{node.where}: bounds must leave integers, not {low:g} to {high:g}")
        self.builder.tighten(coded.tensor, replace(tensor, bits=found[0], signed=found[1]), *ends)
        return coded

    def _start(self, scale: float, zero: int, low: int, high: int) -> Coded:
        """The input's format; a zero point in the midst of it stays, and is folded into biases."""
        output = _format(low - zero, high - zero)
        offset = zero if output is not None else 0
        bits, signed = output or _format(low, high) or (8, False)
        if self.builder is not None:
            raise ValueError(f"Input {self.graph.input!r} must be quantized once")
        self.builder = LayerBuilder(self.config, Tensor(self.shape, bits, signed, scale))
        return Coded(INPUT, offset, self.flat)

    def _same(self, plain: Plain, scale: float, low: int, high: int) -> bool:
        """Whether quantizing a tensor's real values gives its integers again."""
        tensor = self.tensor(plain.tensor)
        whole = not any(plain.padding) and plain.shift == 0
        return whole and plain.unit == scale and low <= tensor.low and tensor.high <= high

    def real(self, node: OnnxNode, coded: Coded, scale: float, zero: int) -> Plain:
        """Real values of integers."""
        return Plain(coded.tensor, self.tensor(coded.tensor).shape, scale, coded.offset - zero, flat=coded.flat)

    def input_of_integers(self, scale: float, zero: int) -> Coded:
        """The graph's input, where it is integers."""
        return self._start(scale, zero, *constants.limits(self.graph.dtype))


def _format(low: int, high: int) -> tuple[int, bool] | None:
    """The fewest bits, and whether signed, that hold integers; None if 8 do not."""
    signed = low < 0
    bits = max(2, max(high, -low - 1).bit_length() + signed)
    return (bits, signed) if bits <= 8 else None


def integers(values: Any) -> tuple[int, ...]:
    """Numbers of an attribute or constant."""
    return tuple(int(value) for value in np.asarray(values).reshape(-1))


def spatial(node: OnnxNode, name: str, default: tuple[int, ...]) -> tuple[int, ...]:
    """An attribute along two axes."""
    value = tuple(node.attributes.get(name, default))
    if len(value) != len(default):
        raise ValueError(f"{node.where}: {name} must be {len(default)} numbers, not {value!r}")
    return value
