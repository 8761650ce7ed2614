"""Operators that quantize: QuantizeLinear and DequantizeLinear, QONNX's Quant and BipolarQuant."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import helper

from twofold.exchange import constants
from twofold.exchange.model_file import OnnxNode
from twofold.exchange.reader import Handler, Reader
from twofold.exchange.values import Coded, Constant, Raw, Value


def quantize_linear(reader: Reader, node: OnnxNode) -> Value:
    value, (scale, zero) = reader.value(node, 0), _scales(reader, node)
    if reader.given(node, 2):
        dtype = reader.constant(node, 2).values.dtype
    else:
        dtype = np.dtype(helper.tensor_dtype_to_np_dtype(int(node.attributes.get("output_dtype", 0) or 2)))
    low, high = constants.limits(dtype)
    if isinstance(value, Constant):
        axis = int(node.attributes.get("axis", 1))
        steps, offsets = (constants.along(array, value.values, axis) for array in (scale, zero))
        return Constant(constants.quantized(value.values, steps, offsets, low, high) + offsets)
    return reader.code(node, value, *_single(node, scale, zero), low, high)


def dequantize_linear(reader: Reader, node: OnnxNode) -> Value:
    value, (scale, zero) = reader.value(node, 0), _scales(reader, node)
    if isinstance(value, Constant):
        axis = int(node.attributes.get("axis", 1))
        steps, offsets = (constants.along(array, value.values, axis) for array in (scale, zero))
        return constants.coded(value.values.astype(np.int64) - offsets, steps)
    step, offset = _single(node, scale, zero)
    if isinstance(value, Raw) and reader.graph.dtype.kind in "iu" and reader.graph.dtype.itemsize == 1:
        value = reader.values[node.inputs[0]] = reader.input_of_integers(step, offset)
    if not isinstance(value, Coded):
        raise ValueError(f"{node.where}: input must be quantized")
    return reader.real(value, step, offset)


def quant(reader: Reader, node: OnnxNode) -> Value:
    """QONNX's Quant: real numbers in, rounded real numbers out."""
    value, (scale, zero) = reader.value(node, 0), _scales(reader, node)
    bits = reader.number(node, 3)
    most = 32 if isinstance(value, Constant) else 8
    if bits not in range(2, most + 1):
        raise ValueError(f"{node.where}: bit width must be 2 to {most}, not {bits:g}")
    mode = node.attributes.get("rounding_mode", b"ROUND")
    if mode not in (b"ROUND", b"HALF_EVEN"):
        raise ValueError(f"{node.where}: rounding mode must be ROUND, not {mode.decode()}")
    signed, narrow = bool(node.attributes.get("signed", 1)), bool(node.attributes.get("narrow", 0))
    low, high = (-(1 << int(bits) - 1), (1 << int(bits) - 1) - 1) if signed else (0, (1 << int(bits)) - 1)
    low, high = low + (signed and narrow), high - (narrow and not signed)
    if isinstance(value, Constant):
        steps = np.broadcast_to(scale, np.broadcast_shapes(scale.shape, value.values.shape))
        return constants.coded(constants.quantized(value.values, steps, zero, low, high), steps.astype(np.float64))
    step, offset = _single(node, scale, zero)
    return reader.real(reader.code(node, value, step, offset, low, high), step, offset)


def bipolar_quant(reader: Reader, node: OnnxNode) -> Value:
    """QONNX's BipolarQuant of constants: plus or minus one."""
    values, scale = reader.constant(node, 0).values, constants.positive(node, reader.constant(node, 1).values)
    return constants.coded(np.where(values >= 0, 1, -1).astype(np.int64), np.broadcast_to(scale, values.shape))


def _scales(reader: Reader, node: OnnxNode) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Scales and zero points, as they are stored."""
    if node.attributes.get("block_size", 0):
        raise ValueError(f"{node.where}: blocks must have no scales of their own, not {node.attributes['block_size']}")
    scale = constants.positive(node, reader.constant(node, 1).values)
    zero: NDArray[Any] = reader.constant(node, 2).values if reader.given(node, 2) else np.zeros((), np.int64)
    whole = zero.astype(np.float64)
    if not (np.isfinite(whole).all() and (whole == np.rint(whole)).all() and np.abs(whole).max(initial=0) < 1 << 31):
        raise ValueError(f"{node.where}: zero points must be integers")
    return scale, whole.astype(np.int64)


def _single(node: OnnxNode, scale: NDArray[np.float64], zero: NDArray[np.int64]) -> tuple[float, int]:
    """One scale and zero point for a tensor of activations."""
    if (scale != scale.flat[0]).any() or (zero != zero.flat[0]).any():
        raise ValueError(f"{node.where}: activations must have one scale and zero point, not one a channel")
    return float(scale.flat[0]), int(zero.flat[0])


HANDLERS: dict[str, Handler] = {
    "BipolarQuant": bipolar_quant,
    "DequantizeLinear": dequantize_linear,
    "Quant": quant,
    "QuantizeLinear": quantize_linear,
}
