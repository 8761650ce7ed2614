"""What a graph's nodes take, and copies of integers that are made for them."""

from dataclasses import replace
from typing import Any

import numpy as np

from twofold.exchange.layers import LayerBuilder
from twofold.exchange.model_file import OnnxGraph, OnnxNode
from twofold.exchange.sums import as_sum, by_channel, identities, times
from twofold.exchange.values import Constant, Joined, Most, Moved, Plain, Raw, Shape, Sum, Term, Value
from twofold.golden.config import ArrayConfig
from twofold.golden.network import INPUT, Pair, Tensor
from twofold.support.names import free_name


class Inputs:
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
        #: Tensors that hold one number everywhere, by that and their size.
        self.constants: dict[tuple[int, Pair], str] = {}
        #: What is taken off tensors' integers before the scale.
        self.zero_points: dict[str, int] = {}

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

    def plains(self, node: OnnxNode, place: int = 0) -> Plain | Joined:
        """Quantized tensors, or channels of them."""
        value = self.value(node, place)
        if isinstance(value, (Moved, Most)):
            value = self.values[node.inputs[place]] = self.settled(node, node.inputs[place], value)
        if not isinstance(value, (Plain, Joined)):
            raise ValueError(f"{node.where}: input {place} must be quantized, not the result of other operations")
        return value

    def plain(self, node: OnnxNode, place: int = 0) -> Plain:
        """A quantized tensor, of all its channels; else a copy that is one."""
        value = self.plains(node, place)
        if isinstance(value, Plain) and value.channels is None:
            return value
        copy = self.settled(node, node.inputs[place], self.copied_value(node, value))
        self.values[node.inputs[place]] = copy
        return copy

    def sum(self, node: OnnxNode, place: int) -> Sum:
        """A sum without bounds."""
        value = self.value(node, place)
        if isinstance(value, Most):
            value = self.plains(node, place)
        if isinstance(value, (Plain, Joined)) and not any(any(piece.padding) for piece in value.pieces):
            return as_sum(value)
        if isinstance(value, Moved):
            return self.scaled(value)
        if not isinstance(value, Sum) or value.bounded:
            raise ValueError(f"{node.where}: input {place} must be quantized, or a sum without bounds")
        return value

    def tensor(self, name: str) -> Tensor:
        assert self.builder is not None
        return self.builder.tensors[name]

    def everywhere(self, piece: Plain, number: int) -> str:
        """Name of a tensor of one channel that holds a number at every place of a piece's tensor."""
        assert self.builder is not None
        size = self.tensor(piece.tensor).shape[1:]
        if (number, size) not in self.constants:
            taken = {*self.builder.tensors, *(name for node in self.graph.nodes for name in node.outputs)}
            name = self.constants[number, size] = free_name(f"zero_point_{number}", taken.__contains__)
            nothing = Term(piece.tensor, np.zeros((1, 1, 1, 1), np.int64), np.ones(1), channels=(0,))
            constant = Sum((1, *size), (nothing,), (), np.array([float(number)]))
            self.builder.add(name, constant, Tensor(constant.shape, 8, False, 1.0), number, number)
        return self.constants[number, size]

    def layer(self, node: OnnxNode, name: str, value: Sum | Most, tensor: Tensor, low: int, high: int) -> str:
        """Name of a new layer."""
        assert self.builder is not None
        name = name if name != INPUT else f"{INPUT}_"
        try:
            self.builder.add(name, value, tensor, low, high)
        except ValueError as error:
            raise ValueError(f"{node.where}: {error}") from error
        return name

    def settled(self, node: OnnxNode, name: str, value: Moved | Most) -> Plain:
        """Integers that are moved, or the largest of windows, and not quantized again: a layer of the same integers."""
        own: Sum | Most
        if isinstance(value, Moved):
            like, of = value.like, value.sum.terms[0].tensor
            low, high, own, unit = like.low, like.high, value.sum, value.unit
        else:
            like, of, unit = self.tensor(value.tensor), value.tensor, float(value.unit[0])
            if value.sign < 0 or value.bias.any() or (value.unit != unit).any():
                raise ValueError(f"{node.where}: input must be quantized, not a maximum of negative or scaled numbers")
            low, high = _integer_bounds(value, like)
            own = replace(value, unit=np.ones_like(value.unit), shift=0, low=-np.inf, high=np.inf)
        name = self.layer(node, name, own, replace(like, shape=value.shape, scale=1.0), low, high)
        if self.builder is not None:
            self.builder.rescale(name, like.scale)
        self.zero_points[name] = self.zero_points.get(of, 0)
        return Plain(name, value.shape, unit, value.shift, flat=value.flat)

    def copied_value(self, node: OnnxNode, value: Plain | Joined) -> Moved:
        """Pieces with one scale and zero point as they are to be copied into one tensor."""
        first, tensors = value.pieces[0], [self.tensor(piece.tensor) for piece in value.pieces]
        if any((piece.unit, piece.shift) != (first.unit, first.shift) or any(piece.padding) for piece in value.pieces):
            raise ValueError(f"{node.where}: input must be quantized, or joined of tensors of one scale and zero point")
        output = small_format(min(one.low for one in tensors), max(one.high for one in tensors))
        if output is None:
            raise ValueError(f"{node.where}: input must be joined of tensors that are all signed, or none")
        terms = tuple(identities([replace(piece, unit=1.0) for piece in value.pieces]))
        like = Tensor(value.shape, *output, tensors[0].scale)
        sums = Sum(value.shape, terms, (), np.zeros(value.shape[0]), flat=value.flat)
        return Moved(sums, first.unit, first.shift, like)

    def copied(self, node: OnnxNode, place: int = 0) -> Moved:
        """Quantized values that an operator moves."""
        value = self.value(node, place)
        return value if isinstance(value, Moved) else self.copied_value(node, self.plains(node, place))

    def scaled(self, copy: Moved) -> Sum:
        """Real values of a copy."""
        real = times(copy.sum, np.full(copy.shape[0], copy.unit))
        return replace(real, bias=by_channel(real, np.full(copy.shape[0], copy.unit * copy.shift)))


def _integer_bounds(most: Most, tensor: Tensor) -> tuple[int, int]:
    """Bounds of a maximum in a tensor's integers."""

    def bound(real: float, end: int) -> int:
        whole = end if abs(real) == np.inf else int(np.rint(real / most.unit[0])) - most.shift
        return min(max(whole, tensor.low), tensor.high)

    return bound(most.low, tensor.low), bound(most.high, tensor.high)


def small_format(low: int, high: int) -> tuple[int, bool] | None:
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
