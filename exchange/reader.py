"""A graph of quantized values to a network: which value each node makes."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from twofold.exchange import constants
from twofold.exchange.inputs import Inputs, small_format
from twofold.exchange.layers import DIGITS, LayerBuilder
from twofold.exchange.model_file import OnnxNode
from twofold.exchange.qoperators import NAMES
from twofold.exchange.values import Coded, Constant, Joined, Most, Moved, Plain, Raw, Sum, Value
from twofold.golden.catalog import digit_points
from twofold.golden.network import INPUT, Network, Tensor

#: Domains of QONNX's operators.
QONNX = ("qonnx.custom_op.general", "onnx.brevitas", "finn.custom_op.general")
Handler = Callable[["Reader", OnnxNode], Value]
#: Operators that move integers or take the largest, so that they may also stand where integers are.
MOVES = frozenset("Concat DepthToSpace Flatten Gather Identity MaxPool Reshape Resize Slice Split Squeeze".split())


class Reader(Inputs):
    """Reads a graph: which value each of its nodes makes."""

    def run(self, handlers: dict[str, Handler]) -> Network:
        """Reads all nodes."""
        for node in self.graph.nodes:
            known = node.domain in ("", "ai.onnx") or (
                node.domain in QONNX and node.operator in ("Quant", "BipolarQuant")
            )
            handler = handlers.get(node.operator) if known else None
            if handler is None:
                raise ValueError(f"{node.where} must be one of {', '.join(sorted((*handlers, *NAMES)))}")
            moved = node.operator in MOVES and any(isinstance(self.values.get(name), Coded) for name in node.inputs)
            self.values[node.outputs[0]] = self._moved(handler, node) if moved else handler(self, node)
        return self._network()

    def _moved(self, handler: Handler, node: OnnxNode) -> Value:
        """What an operator makes of integers: what it makes of real numbers that are the same."""
        coded = [name for name in node.inputs if isinstance(self.values.get(name), Coded)]
        others = [self.values.get(name) for name in node.inputs if name and name not in coded]
        if not all(isinstance(one, Constant) for one in others):
            raise ValueError(f"{node.where}: inputs must be integers, all of them")
        for name in coded:
            one = self.values[name]
            self.values[name] = one.value if isinstance(one, Coded) else one
        results = [handler(self, node), *(self.values.get(name) for name in node.outputs[1:])]
        for name in coded:
            one = self.values[name]
            self.values[name] = Coded(one) if isinstance(one, (Plain, Joined)) else one
        for name, result in zip(node.outputs, results, strict=True):
            if isinstance(result, (Moved, Most)):
                result = self.settled(node, name, result)
            if not isinstance(result, (Plain, Joined)):
                raise ValueError(f"{node.where}: integers must be moved, not computed with")
            self.values[name] = Coded(result)
        return self.values[node.outputs[0]]

    def _network(self) -> Network:
        heads = tuple(self._head(name) for name in self.graph.outputs)
        if self.builder is None or len({*heads}) < len(heads):
            raise ValueError(f"Outputs {self.graph.outputs!r} must be of layers, each of another one")
        layers = self.builder.needed(heads)
        names = [layer.name for layer in layers]
        meta: dict[str, object] = {
            "build": self.config.name,
            "layers": {name: self.builder.report[name] for name in names},
            "zero_points": {name: self.zero_points[name] for name in (INPUT, *names) if self.zero_points.get(name)},
        }
        points = {DIGITS: digit_points(self.config.fmt)}
        several = heads if len(heads) > 1 else ()
        start = self.builder.tensors[INPUT]
        return Network(self.graph.name or "network", start, tuple(layers), points, meta, several)

    def _head(self, name: str) -> str:
        """The layer that gives an output."""
        value = self.values.get(name)
        value = value.value if isinstance(value, Coded) else value
        if isinstance(value, Joined) or (isinstance(value, Plain) and value.channels is not None):
            value = self.settled(self.graph.nodes[-1], name, self.copied_value(self.graph.nodes[-1], value))
        if not isinstance(value, Plain) or any(value.padding) or value.tensor == INPUT:
            raise ValueError(f"Output {name!r} must be quantized, as the result of a layer")
        return value.tensor

    def code(self, node: OnnxNode, value: Value, scale: float, zero: int, low: int, high: int) -> Coded:
        """Integers of a value: those of the input, of a tensor that is there, or of a new layer."""
        bottom, top = (getattr(value, bound, edge) for bound, edge in (("low", -np.inf), ("high", np.inf)))
        low = max(low, int(np.rint(bottom / scale)) + zero) if bottom > -np.inf else low
        high = min(high, int(np.rint(top / scale)) + zero) if top < np.inf else high
        if low > high:
            raise ValueError(f"{node.where}: bounds must leave integers, not {low} to {high}")
        if isinstance(value, Raw):
            return self._start(scale, zero, low, high)
        if isinstance(value, (Plain, Joined)):
            if all(self._same(piece, scale, low - zero, high - zero) for piece in value.pieces):
                return Coded(_each(value, lambda piece: replace(piece, unit=1.0, shift=piece.shift + zero)))
            value = self.sum(node, 0)
        if isinstance(value, Moved):
            value = self.scaled(value)
        if not isinstance(value, (Sum, Most)):
            raise ValueError(f"{node.where}: input must be real numbers that a layer computes")
        offset, output = self._offset(node, zero, low, high)
        value = replace(value, bias=value.bias + (zero - offset) * scale)
        tensor = Tensor(value.shape, *output, scale)
        name = self.layer(node, node.outputs[0], value, tensor, low - offset, high - offset)
        self.zero_points[name] = zero - offset
        return Coded(Plain(name, value.shape, 1.0, offset, flat=value.flat))

    def _offset(self, node: OnnxNode, zero: int, low: int, high: int) -> tuple[int, tuple[int, bool]]:
        """What a tensor's integers are less than the graph's, and their format: the zero point where 8 bits do."""
        for offset in (zero, 0):
            output = small_format(low - offset, high - offset)
            if output is not None:
                return offset, output
        raise ValueError(f"{node.where}: integers must have 8 bits, not {low} to {high}")

    def tighten(self, node: OnnxNode, coded: Coded, low: float, high: float) -> Coded:
        """Integers within bounds: those of the layer that makes them, which nothing else may take."""
        assert self.builder is not None
        name, value = node.inputs[0], coded.value
        users = [other for other in self.graph.nodes if name in other.inputs]
        if len(users) > 1 or name in self.graph.outputs or not isinstance(value, Plain) or not value.whole:
            raise ValueError(f"{node.where}: integers that are bounded must not be used without bounds, too")
        tensor = self.tensor(value.tensor)
        ends = [int(min(max(bound - value.shift, tensor.low), tensor.high)) for bound in (low, high)]
        found = small_format(*ends)
        if ends[0] > ends[1] or found is None:
            raise ValueError(f"{node.where}: bounds must leave integers, not {low:g} to {high:g}")
        self.builder.tighten(value.tensor, replace(tensor, bits=found[0], signed=found[1]), *ends)
        return coded

    def _start(self, scale: float, zero: int, low: int, high: int) -> Coded:
        """The input's format; a zero point in the midst of it stays, and is folded into biases."""
        output = small_format(low - zero, high - zero)
        offset = zero if output is not None else 0
        bits, signed = output or small_format(low, high) or (8, False)
        if self.builder is not None:
            raise ValueError(f"Input {self.graph.input!r} must be quantized once")
        self.builder = LayerBuilder(self.config, Tensor(self.shape, bits, signed, scale))
        self.zero_points[INPUT] = zero - offset
        return Coded(Plain(INPUT, self.shape, 1.0, offset, flat=self.flat))

    def _same(self, plain: Plain, scale: float, low: int, high: int) -> bool:
        """Whether quantizing a tensor's real values gives its integers again."""
        tensor = self.tensor(plain.tensor)
        within = low <= tensor.low + plain.shift and tensor.high + plain.shift <= high
        return not any(plain.padding) and plain.unit == scale and within

    def real(self, coded: Coded, scale: float, zero: int) -> Plain | Joined:
        """Real values of integers."""
        return _each(coded.value, lambda piece: replace(piece, unit=scale, shift=piece.shift - zero))

    def input_of_integers(self, scale: float, zero: int) -> Coded:
        """The graph's input, where it is integers."""
        return self._start(scale, zero, *constants.limits(self.graph.dtype))


def _each(value: Plain | Joined, change: Callable[[Plain], Plain]) -> Plain | Joined:
    """Every piece changed."""
    return change(value) if isinstance(value, Plain) else Joined(tuple(change(piece) for piece in value.pieces))
