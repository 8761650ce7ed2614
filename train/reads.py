"""A convolution of channels of several tensors as branches: one for each tensor, unless groups divide it.

The tensors' scales differ by powers of two (`train.streams`), which the shifts of the branches make good: the sums are
exact.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from twofold.golden.network import Branch, Tensor
from twofold.train.layers import ConvLayer
from twofold.train.scale_layer import ScaleLayer


def unit_scale(layer: ConvLayer, formats: Mapping[str, Tensor]) -> float:
    """Scale of the tensors that a layer convolves, of several the smallest."""
    return min(formats[read.source].scale for read in layer.reads)


def scale_units(layer: ScaleLayer, formats: Mapping[str, Tensor]) -> NDArray[np.float64]:
    """What an LSB of each of a layer's channels gives of its result, without sign; shape (M,)."""
    scales = [np.full(read.count(formats[read.source].shape[0]), formats[read.source].scale) for read in layer.reads]
    return np.abs(layer.gain.detach().double().numpy()) * np.concatenate(scales)


def octaves(layer: ConvLayer, formats: Mapping[str, Tensor]) -> tuple[int, ...]:
    """For each read, the power of two that its tensor's scale is times `unit_scale`.

    Raises
    ------
    ValueError
        If it is none.
    """
    unit, found = unit_scale(layer, formats), []
    for read in layer.reads:
        ratio = formats[read.source].scale / unit
        fraction, exponent = math.frexp(ratio)
        if fraction != 0.5:
            raise ValueError(f"Scales of concatenated tensors must differ by powers of two, not by {ratio!r}")
        found.append(exponent - 1)
    return tuple(found)


def largest(layer: ConvLayer, formats: Mapping[str, Tensor]) -> NDArray[np.float64]:
    """Largest activation of each of a layer's weights, in units of `unit_scale`; shape (M, N / groups)."""
    parts = []
    for read, octave in zip(layer.reads, octaves(layer, formats), strict=True):
        tensor = formats[read.source]
        parts.append(np.full(read.count(tensor.shape[0]), float(max(-tensor.low, tensor.high) << octave)))
    return np.concatenate(parts).reshape(layer.groups, -1).repeat(layer.shape[0] // layer.groups, axis=0)


def conv_branches(layer: ConvLayer, whole: Branch, formats: Mapping[str, Tensor]) -> tuple[Branch, ...]:
    """The branches of a layer.

    Parameters
    ----------
    whole
        The convolution as it would be of one tensor.
    """
    if len(layer.reads) == 1:
        return (replace(whole, source=layer.reads[0].source, channels=layer.reads[0].channels),)
    shifts, starts = octaves(layer, formats), _starts(layer, formats)
    found = []
    for number, inputs, rows, groups in _pieces(layer, starts):
        read, per_group = layer.reads[number], whole.codes.shape[2]
        first = rows.start // (layer.shape[0] // layer.groups) * per_group
        columns = slice(None) if groups > 1 else slice(inputs.start - first, inputs.stop - first)
        begin = starts[number]
        channels = (read.channels or range(formats[read.source].shape[0]))[inputs.start - begin : inputs.stop - begin]
        everything = tuple(channels) == tuple(range(formats[read.source].shape[0]))
        found.append(
            replace(
                whole,
                source=read.source,
                codes=np.ascontiguousarray(whole.codes[:, rows, columns]),
                shifts=tuple(shift + shifts[number] for shift in whole.shifts),
                groups=groups,
                channel=rows.start,
                channels=None if everything else tuple(channels),
            )
        )
    return tuple(found)


def _starts(layer: ConvLayer, formats: Mapping[str, Tensor]) -> list[int]:
    """Number of the first input of each read, and of all inputs."""
    counts = [read.count(formats[read.source].shape[0]) for read in layer.reads]
    return [sum(counts[:number]) for number in range(len(counts) + 1)]


def _pieces(layer: ConvLayer, starts: list[int]) -> Iterator[tuple[int, slice, slice, int]]:
    """Read, inputs, outputs and groups of each branch.

    Neighbouring groups of one read are one branch; a group that reads several is one for each.
    """
    inputs, outputs = starts[-1] // layer.groups, layer.shape[0] // layer.groups
    edges = sorted({*starts, *range(0, starts[-1] + 1, inputs)})
    open_: tuple[int, int, int] | None = None  # read, first group, group behind the last
    for begin, end in pairwise(edges):
        number = next(n for n, (low, high) in enumerate(pairwise(starts)) if low <= begin < high)
        group = begin // inputs
        if end - begin == inputs and open_ is not None and open_[0] == number and open_[2] == group:
            open_ = number, open_[1], group + 1
            continue
        if open_ is not None:
            yield _run(*open_, inputs, outputs)
        open_ = None
        if end - begin == inputs:
            open_ = number, group, group + 1
        else:
            yield number, slice(begin, end), slice(group * outputs, (group + 1) * outputs), 1
    if open_ is not None:
        yield _run(*open_, inputs, outputs)


def _run(number: int, first: int, end: int, inputs: int, outputs: int) -> tuple[int, slice, slice, int]:
    return number, slice(first * inputs, end * inputs), slice(first * outputs, end * outputs), end - first
