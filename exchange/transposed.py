"""Transposed convolutions that are read: of integers as their phases, of sums as places among zeros."""

from dataclasses import replace
from itertools import product

import numpy as np

from twofold.exchange.constants import reshaped, weights
from twofold.exchange.inputs import spatial
from twofold.exchange.model_file import OnnxNode
from twofold.exchange.reader import Handler, Reader
from twofold.exchange.sums import by_channel, placed
from twofold.exchange.values import NOWHERE, Constant, Floats, Sum, Term, Value
from twofold.exchange.windows import bias_of, over_pieces, pair
from twofold.golden.network import Pair
from twofold.golden.parts import MOST_STEP, Part
from twofold.golden.phases import Axis, axis_phases


def transposed(reader: Reader, node: OnnxNode) -> Value:
    """ConvTranspose of quantized tensors; of a sum only where it puts zeros between its values."""
    value, kernel = reader.value(node, 0), reader.constant(node, 1)
    stride, dilation = pair(node, "strides"), pair(node, "dilations")
    if max(stride) > MOST_STEP or "output_shape" in node.attributes:
        raise ValueError(f"{node.where}: strides must be at most {MOST_STEP}, and output_shape not given")
    if isinstance(value, Sum) and not value.bounded:
        return _between_zeros(reader, node, value, kernel, stride)
    groups = int(node.attributes.get("group", 1))
    if kernel.values.ndim != 4 or groups < 1 or len(kernel.values) % groups:
        raise ValueError(f"{node.where}: weights must have 4 dimensions, the first a multiple of {groups}")
    found, unit = weights(node, _by_output(kernel, groups))
    source = reader.plains(node)
    if source.shape[0] != len(kernel.values):
        raise ValueError(f"{node.where}: weights must be for {source.shape[0]} channels, not {len(kernel.values)}")
    size = _size(node, source.shape[1:], found.shape[2:], stride, dilation)
    axes = _phases(node, found.shape[2:], stride, dilation, size)
    if any(any(piece.padding) for piece in source.pieces):
        raise ValueError(f"{node.where}: input must not be padded")
    channels, parts, terms, bias = len(unit), list[Part](), list[Term](), list[Floats]()
    for row, column in product(*axes):
        taps = found[..., list(row.taps), :][..., list(column.taps)]
        sides = (row.begin, column.begin, row.end(source.shape[1]), column.end(source.shape[2]))
        phase = Term("", taps, unit, (1, 1), sides, (row.dilation, column.dilation), groups)
        own, raised = over_pieces(reader, source, phase)
        terms += [replace(term, channel=term.channel + len(parts) * channels) for term in own]
        parts.append(Part((row.offset, column.offset), (row.step, column.step), (row.count, column.count)))
        bias.append(raised)
    total = Sum((channels, *size), tuple(terms), (), np.concatenate(bias), parts=tuple(parts) if len(parts) > 1 else ())
    if reader.given(node, 2):
        given = bias_of(node, reader.constant(node, 2), unit * abs(source.pieces[0].unit))
        total = replace(total, bias=total.bias + by_channel(total, given))
    return total


def _between_zeros(reader: Reader, node: OnnxNode, value: Sum, kernel: Constant, stride: Pair) -> Sum:
    """A sum's values at every so many places: a kernel of a single one for each channel."""
    channels = value.shape[0]
    single = kernel.values.shape == (channels, 1, 1, 1) and node.attributes.get("group", 1) == channels
    plain = not any(spatial(node, "pads", NOWHERE)) and not any(spatial(node, "output_padding", (0, 0)))
    if not single or not plain or (kernel.values != 1).any() or reader.given(node, 2):
        raise ValueError(f"{node.where}: input must be quantized, or weights a single 1 for each channel")
    size = [(length - 1) * step + 1 for length, step in zip(value.shape[1:], stride, strict=True)]
    return placed(value, (0, 0), stride, (size[0], size[1]))


def _phases(node: OnnxNode, kernel: tuple[int, ...], stride: Pair, dilation: Pair, size: Pair) -> list[list[Axis]]:
    """Along height and width."""
    pads = spatial(node, "pads", NOWHERE)
    try:
        return [axis_phases(kernel[n], stride[n], pads[n], dilation[n], size[n]) for n in (0, 1)]
    except ValueError as error:
        raise ValueError(f"{node.where}: {error}") from error


def _by_output(kernel: Constant, groups: int) -> Constant:
    """Weights of shape (N, M / groups, Kh, Kw) as (M, N / groups, Kh, Kw)."""
    inputs, outputs, height, width = kernel.values.shape
    blocks = (groups, inputs // groups, outputs, height, width)
    return reshaped(
        kernel,
        lambda array: array.reshape(blocks).swapaxes(1, 2).reshape(groups * outputs, inputs // groups, height, width),
    )


def _size(node: OnnxNode, size: tuple[int, ...], kernel: tuple[int, ...], stride: Pair, dilation: Pair) -> Pair:
    """(height, width) of the result."""
    auto, more = node.attributes.get("auto_pad", b"NOTSET"), spatial(node, "output_padding", (0, 0))
    pads = spatial(node, "pads", NOWHERE)
    sides = [
        (size[n] - 1) * stride[n] + more[n] + dilation[n] * (kernel[n] - 1) + 1 - pads[n] - pads[2 + n] for n in (0, 1)
    ]
    if auto not in (b"NOTSET", b"VALID") or min(sides) < 1:
        raise ValueError(f"{node.where}: auto_pad must be NOTSET and the result have a size, not {tuple(sides)}")
    return sides[0], sides[1]


HANDLERS: dict[str, Handler] = {"ConvTranspose": transposed}
