"""Operators with windows: convolutions, linear layers, poolings, padding."""

from dataclasses import replace

import numpy as np

from twofold.exchange.constants import weights
from twofold.exchange.inputs import integers, spatial
from twofold.exchange.model_file import OnnxNode
from twofold.exchange.reader import Handler, Reader
from twofold.exchange.sums import all_terms, placed
from twofold.exchange.values import NOWHERE, Constant, Floats, Integers, Joined, Most, Plain, Sides, Sum, Term, Value
from twofold.golden.network import Pair


def convolution(reader: Reader, node: OnnxNode) -> Value:
    found, unit = weights(node, reader.value(node, 1))
    if found.ndim != 4:
        raise ValueError(f"{node.where}: weights must have 4 dimensions, not {found.ndim}")
    stride, dilation = pair(node, "strides"), pair(node, "dilations")
    groups = int(node.attributes.get("group", 1))
    most = reader.value(node, 0)
    scaled = _scaled(reader, node, most, found, unit) if isinstance(most, Most) else None
    if scaled is not None:
        return scaled
    source = reader.plains(node)
    if groups < 1 or source.shape[0] != groups * found.shape[1] or len(found) % groups:
        raise ValueError(f"{node.where}: weights must be for {source.shape[0]} channels in {groups} groups")
    padding = _padding(node, source, 0.0)
    geometry = Term("", found, unit, stride, padding, dilation, groups)
    return weighted(reader, node, source, geometry)


def matrix(reader: Reader, node: OnnxNode) -> Value:
    """Gemm and MatMul by a constant: a linear layer."""
    found, unit = _columns(node, reader.value(node, 1))
    source = reader.plains(node)
    if any(node.attributes.get(key, 1) != 1 for key in ("alpha", "beta")) or node.attributes.get("transA", 0):
        raise ValueError(f"{node.where}: alpha and beta must be 1 and transA 0")
    features = int(np.prod(source.shape))
    if not source.flat or found.shape[1] != features or any(any(piece.padding) for piece in source.pieces):
        raise ValueError(f"{node.where}: input must be flat, of {found.shape[1]} features, not of {source.shape}")
    term = Term("", found.reshape(len(found), *source.shape), unit)
    return replace(weighted(reader, node, source, term), flat=True)


def max_pool(reader: Reader, node: OnnxNode) -> Value:
    source = reader.plain(node)
    if len(node.outputs) > 1:
        raise ValueError(f"{node.where}: indices must have no use")
    kernel, stride, dilation = _kernel(node), pair(node, "strides"), pair(node, "dilations")
    padding = _padding(node, source, -np.inf)
    ones, sign = np.ones(source.shape[0]), 1 if source.unit > 0 else -1
    shape = (source.shape[0], *_size(node, source.shape[1:], kernel, stride, padding, dilation))
    unit = abs(source.unit) * ones
    return Most(source.tensor, sign, unit, 0 * ones, kernel, stride, dilation, padding, shape, sign * source.shift)


def average_pool(reader: Reader, node: OnnxNode) -> Value:
    source = reader.plains(node)
    kernel, padding = _kernel(node), _padding(node, source, 0.0)
    if any(padding) and not node.attributes.get("count_include_pad", 0):
        raise ValueError(f"{node.where}: count_include_pad must be 1 where there is padding")
    return _average(reader, node, source, kernel, padding)


def global_average(reader: Reader, node: OnnxNode) -> Value:
    source = reader.plains(node)
    return _average(reader, node, source, source.shape[1:], source.pieces[0].padding)


def reduce_mean(reader: Reader, node: OnnxNode) -> Value:
    """Over height and width."""
    axes = integers(reader.constant(node, 1).values) if reader.given(node, 1) else node.attributes.get("axes", ())
    source = reader.plains(node)
    if sorted(axis % 4 for axis in axes) != [2, 3] or source.flat:
        raise ValueError(f"{node.where}: axes must be those of height and width, not {tuple(axes)}")
    value = _average(reader, node, source, source.shape[1:], source.pieces[0].padding)
    return replace(value, flat=not node.attributes.get("keepdims", 1))


def pad(reader: Reader, node: OnnxNode) -> Value:
    """Around a tensor, or channels of zeros beside a sum's."""
    sides = integers(reader.constant(node, 1).values)
    fill = reader.number(node, 2) if reader.given(node, 2) else 0.0
    constant = node.attributes.get("mode", b"constant") == b"constant" and not reader.given(node, 3)
    if len(sides) != 8 or sides[0] or sides[4] or not constant:
        raise ValueError(f"{node.where}: padding must be of constants, along four axes but the first")
    value = reader.value(node, 0)
    around = (sides[2], sides[3], sides[6], sides[7])
    if isinstance(value, Joined):
        value = reader.plain(node)
    if isinstance(value, Plain) and not (sides[1] or sides[5] or any(value.padding)):
        if fill not in (0.0, -np.inf):
            raise ValueError(f"{node.where}: padding must be of zeros, not of {fill}")
        return replace(value, padding=around, fill=fill)
    total = reader.sum(node, 0)
    if fill or min(sides) < 0:
        raise ValueError(f"{node.where}: a sum must be padded by zeros alone")
    if any(around):
        size = (around[0] + total.shape[1] + around[2], around[1] + total.shape[2] + around[3])
        total = placed(total, (around[0], around[1]), (1, 1), size)
    if not (sides[1] or sides[5]):
        return total
    if total.parts:
        raise ValueError(f"{node.where}: channels must be padded before places")
    terms = tuple(replace(one, channel=one.channel + sides[1]) for one in all_terms(total))
    shape = (sides[1] + total.shape[0] + sides[5], *total.shape[1:])
    return replace(total, shape=shape, terms=terms, plains=(), bias=np.pad(total.bias, (sides[1], sides[5])))


def weighted(reader: Reader, node: OnnxNode, source: Plain | Joined, term: Term) -> Sum:
    """A term over the integers of pieces as a sum with its bias; what a zero point leaves is part of that."""
    kernel: Pair = (term.weights.shape[2], term.weights.shape[3])
    size = _size(node, source.shape[1:], kernel, term.stride, term.padding, term.dilation)
    terms, bias = over_pieces(reader, source, term)
    if reader.given(node, 2):
        bias = bias + bias_of(node, reader.constant(node, 2), term.unit * abs(source.pieces[0].unit))
    return Sum((len(term.unit), *size), terms, (), bias)


def over_pieces(reader: Reader, source: Plain | Joined, term: Term) -> tuple[tuple[Term, ...], Floats]:
    """A term over the integers of pieces: one for each, and what zero points leave."""
    terms, bias, start = list[Term](), np.zeros(len(term.unit)), 0
    for piece in source.pieces:
        one = _of_piece(term, piece, start)
        start += piece.shape[0]
        extra, raised = _shift_terms(reader, piece, one)
        terms += [one, *extra]
        bias[one.channel : one.channel + len(one.unit)] += raised
    return tuple(terms), bias


def _shift_terms(reader: Reader, piece: Plain, term: Term) -> tuple[tuple[Term, ...], Floats]:
    """What a piece's zero point adds to a term of its integers: further terms, and a number a channel.

    Padding has none of it, so beside padding it is a convolution of a tensor that holds the zero point everywhere.
    """
    sums = term.weights.sum(axis=1, keepdims=True)
    if not piece.shift or all(side <= 0 for side in term.padding):
        return (), piece.shift * sums.sum(axis=(1, 2, 3)) * term.unit
    name = reader.everywhere(piece, abs(piece.shift))
    weights = sums if piece.shift > 0 else -sums
    return (replace(term, tensor=name, weights=weights, groups=1, channels=None),), np.zeros(len(term.unit))


def _of_piece(term: Term, piece: Plain, start: int) -> Term:
    """The term's share of a piece, whose first channel is the start-th of all."""
    weights, unit, channel, groups = term.weights, term.unit, 0, term.groups
    inputs, outputs, stop = weights.shape[1], len(unit) // groups, start + piece.shape[0]
    if stop - start < groups * inputs:
        if start % inputs == 0 and stop % inputs == 0:
            channel, groups = start // inputs * outputs, (stop - start) // inputs
            rows = slice(channel, channel + groups * outputs)
            weights, unit = weights[rows], unit[rows]
        else:
            whole = np.zeros((len(unit), groups * inputs, *weights.shape[2:]), dtype=np.int64)
            for row in range(len(unit)):
                first = row // outputs * inputs
                whole[row, first : first + inputs] = weights[row]
            weights, groups = whole[:, start:stop], 1
    sign = 1 if piece.unit > 0 else -1
    term = replace(term, tensor=piece.tensor, channels=piece.channels, groups=groups, channel=channel)
    return replace(term, weights=sign * weights, unit=unit * abs(piece.unit))


def bias_of(node: OnnxNode, constant: Constant, unit: Floats) -> Floats:
    """Real biases; integers with the scale of the sums, of float32, stand for multiples of the sums' own."""
    values = constant.values.astype(np.float64).reshape(-1)
    if values.shape != unit.shape or not np.isfinite(values).all():
        raise ValueError(
            f"{node.where}: bias must be one finite number a channel, not of shape {constant.values.shape}"
        )
    if constant.integers is not None and constant.unit is not None:
        own = np.broadcast_to(constant.unit, constant.values.shape).reshape(-1)
        same = np.abs(own / unit - 1) < 1e-6
        values = np.where(same, constant.integers.reshape(-1) * unit, values)
    return values


def _scaled(reader: Reader, node: OnnxNode, most: Most, found: Integers, unit: Floats) -> Most | None:
    """A maximum times a positive number a channel, plus a bias; None if the convolution does more."""
    window = [*node.attributes.get("strides", (1,)), *(1 + side for side in node.attributes.get("pads", (0,)))]
    single = (
        found.shape == (most.shape[0], 1, 1, 1) and set(window) == {1} and node.attributes.get("group", 1) == len(found)
    )
    if not single or most.low > -np.inf or most.high < np.inf or (found <= 0).any():
        return None
    factor = found.reshape(-1) * unit * most.unit
    bias = bias_of(node, reader.constant(node, 2), factor) if reader.given(node, 2) else 0 * factor
    return replace(most, unit=factor, bias=bias)


def _average(reader: Reader, node: OnnxNode, source: Plain | Joined, kernel: Pair, padding: Sides) -> Sum:
    channels = source.shape[0]
    ones = np.ones((channels, 1, *kernel), dtype=np.int64)
    unit = np.full(channels, 1 / (kernel[0] * kernel[1]))
    return weighted(reader, node, source, Term("", ones, unit, pair(node, "strides"), padding, groups=channels))


def _columns(node: OnnxNode, value: Value) -> tuple[Integers, Floats]:
    """Weights of a linear layer by output."""
    if isinstance(value, Constant) and value.integers is not None and value.unit is not None:
        unit = np.broadcast_to(value.unit, value.values.shape)
        if value.values.ndim == 2 and not node.attributes.get("transB", 0):
            value = Constant(value.values.T, value.integers.T, unit.T)
    found, unit = weights(node, value)
    if found.ndim != 2:
        raise ValueError(f"{node.where}: weights must have 2 dimensions, not {found.ndim}")
    return found, unit


def _padding(node: OnnxNode, source: Plain | Joined, fill: float) -> Sides:
    """Padding of a node and of what it takes."""
    auto = node.attributes.get("auto_pad", b"NOTSET")
    own, around = spatial(node, "pads", NOWHERE), source.pieces[0]
    if auto not in (b"NOTSET", b"VALID"):
        raise ValueError(f"{node.where}: auto_pad must be NOTSET, not {auto.decode()}")
    if any(around.padding) and around.fill != fill and any(side > 0 for side in around.padding):
        raise ValueError(f"{node.where}: input must be padded with {fill:g}, not {around.fill:g}")
    if any(cut < 0 < side for cut, side in zip(around.padding, own, strict=True)):
        raise ValueError(f"{node.where}: padding must not be where lines are left out")
    top, left, bottom, right = (a + b for a, b in zip(own, around.padding, strict=True))
    return top, left, bottom, right


def _size(node: OnnxNode, size: tuple[int, ...], kernel: Pair, stride: Pair, padding: Sides, dilation: Pair) -> Pair:
    """(height, width) of the result."""
    if node.attributes.get("ceil_mode", 0):
        raise ValueError(f"{node.where}: ceil_mode must be 0, not 1")
    sides = [
        (length + begin + end - dil * (taps - 1) - 1) // step + 1
        for length, begin, end, dil, taps, step in zip(
            size, padding[:2], padding[2:], dilation, kernel, stride, strict=True
        )
    ]
    if min(sides) < 1:
        raise ValueError(f"{node.where}: window must be within its input, not {kernel} on {size}")
    return sides[0], sides[1]


def pair(node: OnnxNode, name: str) -> Pair:
    first, second = spatial(node, name, (1, 1))
    if min(first, second) < 1:
        raise ValueError(f"{node.where}: {name} must be 1 or more, not {(first, second)!r}")
    return first, second


def _kernel(node: OnnxNode) -> Pair:
    return pair(node, "kernel_shape")


HANDLERS: dict[str, Handler] = {
    "AveragePool": average_pool,
    "Conv": convolution,
    "Gemm": matrix,
    "GlobalAveragePool": global_average,
    "MatMul": matrix,
    "MaxPool": max_pool,
    "Pad": pad,
    "ReduceMean": reduce_mean,
}
