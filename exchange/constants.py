"""Constants of a graph: quantized, given their scales, reshaped."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twofold.exchange.model_file import OnnxNode
from twofold.exchange.values import Constant, Floats, Integers


def limits(dtype: np.dtype[Any]) -> tuple[int, int]:
    """Least and largest integer of a number type, those of four bits included."""
    found = re.fullmatch(r"(u?)int(\d+)", dtype.name)
    if not found:
        raise ValueError(f"zero points must be integers, not {dtype.name}")
    bits = int(found[2])
    return (0, (1 << bits) - 1) if found[1] else (-(1 << bits - 1), (1 << bits - 1) - 1)


def along(array: NDArray[Any], values: NDArray[Any], axis: int) -> NDArray[Any]:
    """Scales or zero points, one or one for each index of an axis, in a shape that is broadcast to the values."""
    if array.size == 1:
        return array.reshape(())
    shape = [1] * values.ndim
    shape[axis] = array.size
    return array.reshape(shape)


def positive(node: OnnxNode, scale: NDArray[Any]) -> Floats:
    """Scales, if they are numbers above zero."""
    wide = scale.astype(np.float64)
    if not (np.isfinite(wide).all() and (wide > 0).all()):
        raise ValueError(f"{node.where}: scales must be positive and finite, not {wide.min()}")
    return wide


def quantized(values: NDArray[Any], scale: NDArray[Any], zero: NDArray[Any], low: int, high: int) -> Integers:
    """Integers of real numbers, ties to even, divided in float32 as onnxruntime does; without the zero point."""
    ratio = values.astype(np.float32) / scale.astype(np.float32)
    offset = zero.astype(np.int64)
    return (np.clip(np.rint(ratio).astype(np.float64) + offset, low, high)).astype(np.int64) - offset


def coded(integers: Integers, scale: Floats) -> Constant:
    """A constant of integers times a scale."""
    return Constant(integers * scale, integers, scale)


def reshaped(constant: Constant, change: Callable[[NDArray[Any]], NDArray[Any]]) -> Constant:
    """A constant with its numbers in other places."""
    if constant.integers is None or constant.unit is None:
        return Constant(change(constant.values))
    unit = np.broadcast_to(constant.unit, constant.values.shape)
    return Constant(change(constant.values), change(constant.integers), change(unit))


def weights(node: OnnxNode, constant: object) -> tuple[Integers, Floats]:
    """Integer weights and a scale for each index of the first axis.

    Raises
    ------
    ValueError
        If they are no constant, not quantized, or have scales along another axis.
    """
    if not isinstance(constant, Constant) or constant.integers is None or constant.unit is None:
        raise ValueError(f"{node.where}: weights must be quantized constants, not others")
    unit = np.broadcast_to(constant.unit, constant.integers.shape).reshape(len(constant.integers), -1)
    if (unit != unit[:, :1]).any():
        raise ValueError(f"{node.where}: weights must have one scale an output channel, not more")
    return constant.integers, unit[:, 0].astype(np.float64)
