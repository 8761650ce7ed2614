"""Operators on real numbers: additions, factors, bounds, shapes; those that quantize or have windows stand beside."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import helper

from twofold.exchange.constants import limits, reshaped
from twofold.exchange.inputs import integers
from twofold.exchange.model_file import OnnxNode
from twofold.exchange.reader import Handler, Reader
from twofold.exchange.sums import added, by_channel, complete, times
from twofold.exchange.values import Coded, Constant, Floats, Joined, Most, Moved, Plain, Raw, Sum, Value


def constant(reader: Reader, node: OnnxNode) -> Value:
    """Constant, of a tensor or of numbers."""
    for key in ("value", "value_float", "value_floats", "value_int", "value_ints"):
        if key in node.attributes:
            return Constant(np.asarray(node.attributes[key]))
    raise ValueError(f"{node.where} must hold numbers")


def constant_of_shape(reader: Reader, node: OnnxNode) -> Value:
    """One number everywhere."""
    shape = integers(reader.constant(node, 0).values)
    return Constant(np.full(shape, np.asarray(node.attributes.get("value", np.float32(0))).reshape(())))


def cast(reader: Reader, node: OnnxNode) -> Value:
    """Another number type, which must hold every value."""
    value, dtype = reader.value(node, 0), np.dtype(helper.tensor_dtype_to_np_dtype(int(node.attributes["to"])))
    if isinstance(value, Constant) and value.integers is None:
        return Constant(value.values.astype(dtype))
    if isinstance(value, Coded) and dtype.kind in "iu":
        low, high = limits(dtype)
        tensors = [(reader.tensor(piece.tensor), piece.shift) for piece in value.value.pieces]
        if all(low <= one.low + shift and one.high + shift <= high for one, shift in tensors):
            return value
    if isinstance(value, Coded) or dtype.kind != "f":
        raise ValueError(f"{node.where}: number type must hold every value, unlike {dtype}")
    return value


def same(reader: Reader, node: OnnxNode) -> Value:
    """Identity, and Dropout in inference."""
    return reader.value(node, 0)


def add(reader: Reader, node: OnnxNode) -> Value:
    """A bias for each channel, or two sums."""
    left, right = reader.value(node, 0), reader.value(node, 1)
    if isinstance(left, Constant) or isinstance(right, Constant):
        place = int(isinstance(left, Constant))
        value = reader.sum(node, place)
        return _shifted(reader, node, 1 - place, value, 1)
    first, second = reader.sum(node, 0), reader.sum(node, 1)
    if first.shape != second.shape or first.flat != second.flat:
        raise ValueError(f"{node.where}: operands must have the same shape, not {first.shape} and {second.shape}")
    try:
        return added(first, second)
    except ValueError as error:
        raise ValueError(f"{node.where}: {error}") from error


def subtract(reader: Reader, node: OnnxNode) -> Value:
    """A constant taken off each channel."""
    return _shifted(reader, node, 1, reader.sum(node, 0), -1)


def multiply(reader: Reader, node: OnnxNode) -> Value:
    """A factor for each channel."""
    place = int(isinstance(reader.value(node, 0), Constant))
    return _times(node, reader.sum(node, place), _channels(reader, node, 1 - place, reader.sum(node, place)))


def divide(reader: Reader, node: OnnxNode) -> Value:
    """A divisor for each channel."""
    value = reader.sum(node, 0)
    divisor = _channels(reader, node, 1, value)
    if not divisor.all():
        raise ValueError(f"{node.where}: divisors must not be zero")
    return _times(node, value, 1 / divisor)


def negate(reader: Reader, node: OnnxNode) -> Value:
    value = reader.value(node, 0)
    if isinstance(value, Plain):
        return replace(value, unit=-value.unit)
    value = reader.sum(node, 0)
    return times(value, np.full(value.shape[0], -1.0))


def batch_norm(reader: Reader, node: OnnxNode) -> Value:
    """BatchNormalization in inference: a factor and a bias for each channel."""
    value = reader.sum(node, 0)
    gain, bias, mean, variance = (_channels(reader, node, place, value) for place in (1, 2, 3, 4))
    factor = gain / np.sqrt(variance + float(node.attributes.get("epsilon", 1e-5)))
    scaled = _times(node, value, factor)
    return _raised(node, scaled, bias - mean * factor)


def relu(reader: Reader, node: OnnxNode) -> Value:
    return _bounded(reader, node, 0.0, np.inf)


def clip(reader: Reader, node: OnnxNode) -> Value:
    low, high = (
        reader.number(node, place) if reader.given(node, place) else edge for place, edge in ((1, -np.inf), (2, np.inf))
    )
    return _bounded(reader, node, low, high)


def flatten(reader: Reader, node: OnnxNode) -> Value:
    """Flatten from the channels on."""
    if node.attributes.get("axis", 1) != 1:
        raise ValueError(f"{node.where}: axis must be 1, not {node.attributes['axis']}")
    return _flat(reader, node)


def reshape(reader: Reader, node: OnnxNode) -> Value:
    """Of constants to any shape; of others to (batch, features)."""
    shape = integers(reader.constant(node, 1).values)
    value = reader.value(node, 0)
    if isinstance(value, Constant):
        return reshaped(value, lambda array: array.reshape(shape))
    features = int(np.prod(_shape(node, value)))
    if len(shape) != 2 or shape[1] not in (-1, features):
        raise ValueError(f"{node.where}: shape must be (batch, {features}), not {shape}")
    return _flat(reader, node)


def squeeze(reader: Reader, node: OnnxNode) -> Value:
    """Of height and width of one position."""
    value = reader.value(node, 0)
    axes = integers(reader.constant(node, 1).values) if reader.given(node, 1) else node.attributes.get("axes", ())
    if isinstance(value, Constant):
        return reshaped(value, lambda array: np.squeeze(array, tuple(axes) or None))
    if sorted(axis % 4 for axis in axes) != [2, 3] or _shape(node, value)[1:] != (1, 1):
        raise ValueError(f"{node.where}: axes must be those of height and width, of one position")
    return _flat(reader, node)


def transpose(reader: Reader, node: OnnxNode) -> Value:
    """Of constants."""
    order = node.attributes.get("perm")
    return _of_constant(reader, node, lambda array: np.transpose(array, order))


def _of_constant(reader: Reader, node: OnnxNode, change: Callable[[NDArray[Any]], NDArray[Any]]) -> Value:
    return reshaped(reader.constant(node, 0), change)


def _shape(node: OnnxNode, value: Value) -> tuple[int, ...]:
    if isinstance(value, (Plain, Joined, Moved, Sum, Most)):
        return value.shape
    raise ValueError(f"{node.where}: input must be real numbers of a quantized tensor or a layer")


def _flat(reader: Reader, node: OnnxNode) -> Value:
    value = reader.value(node, 0)
    if isinstance(value, Moved):
        return replace(value, sum=replace(value.sum, flat=True))
    if isinstance(value, Joined):
        return Joined(tuple(replace(piece, flat=True) for piece in value.pieces))
    if not isinstance(value, (Plain, Sum, Most)) or (isinstance(value, Plain) and any(value.padding)):
        raise ValueError(f"{node.where}: input must be real numbers of a quantized tensor or a layer")
    return replace(value, flat=True)


def _bounded(reader: Reader, node: OnnxNode, low: float, high: float) -> Value:
    value = reader.value(node, 0)
    if isinstance(value, Constant):
        return Constant(np.clip(value.values, low, high).astype(value.values.dtype))
    if isinstance(value, Coded):
        return reader.tighten(node, value, low, high)
    if isinstance(value, (Plain, Joined)):
        if all(_within(reader, piece, low, high) for piece in value.pieces):
            return value
        value = reader.sum(node, 0)
    if isinstance(value, Moved):
        value = reader.sum(node, 0)
    if not isinstance(value, (Raw, Sum, Most)):
        raise ValueError(f"{node.where}: input must be real numbers of a quantized tensor or a layer")
    return replace(value, low=min(max(value.low, low), high), high=max(min(value.high, high), low))


def _within(reader: Reader, piece: Plain, low: float, high: float) -> bool:
    """Whether bounds change nothing."""
    tensor = reader.tensor(piece.tensor)
    ends = sorted(piece.unit * (end + piece.shift) for end in (tensor.low, tensor.high))
    return low <= ends[0] and ends[1] <= high


def _times(node: OnnxNode, value: Sum, factor: Floats) -> Sum:
    if not (np.isfinite(factor).all() and factor.all()):
        raise ValueError(f"{node.where}: factors must be finite and not zero")
    return times(value, factor)


def _shifted(reader: Reader, node: OnnxNode, place: int, value: Sum, sign: int) -> Sum:
    """A sum plus a constant input, or minus it."""
    return _raised(node, value, sign * _channels(reader, node, place, value))


def _raised(node: OnnxNode, value: Sum, bias: Floats) -> Sum:
    """A sum plus a number for each channel."""
    if not complete(value):
        raise ValueError(f"{node.where}: input must have values at every place")
    return replace(value, bias=value.bias + by_channel(value, bias))


def _channels(reader: Reader, node: OnnxNode, place: int, value: Sum) -> Floats:
    """A constant of one number, or of one a channel."""
    values = reader.constant(node, place).values.astype(np.float64)
    channels = value.shape[0]
    good = values.size == 1 or values.shape in ((channels,), (channels, 1, 1), (1, channels, 1, 1), (1, channels))
    if values.ndim < 3 and values.size > 1 and node.operator != "BatchNormalization" and not value.flat:
        good = False  # It would be along the width.
    if not good or not np.isfinite(values).all():
        raise ValueError(f"{node.where}: constant must be one finite number a channel, not of shape {values.shape}")
    return np.broadcast_to(values.reshape(-1), (channels,)).copy()


HANDLERS: dict[str, Handler] = {
    "Add": add,
    "BatchNormalization": batch_norm,
    "Cast": cast,
    "Clip": clip,
    "Constant": constant,
    "ConstantOfShape": constant_of_shape,
    "Div": divide,
    "Dropout": same,
    "Flatten": flatten,
    "Identity": same,
    "Mul": multiply,
    "Neg": negate,
    "Relu": relu,
    "Reshape": reshape,
    "Squeeze": squeeze,
    "Sub": subtract,
    "Transpose": transpose,
}
