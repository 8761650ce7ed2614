"""Windows over a map: paddings of four sides, and poolings whose windows differ along an axis."""

from dataclasses import dataclass
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor

from twofold.golden.network import Padding, Pair


def pad(x: Tensor, padding: Padding, value: float = 0) -> Tensor:
    """A map, (..., height, width), with a frame of that value; a negative side leaves lines out."""
    if not any(padding):
        return x
    return F.pad(x, (padding[1], padding[-1], padding[0], padding[-2]), value=value)


def transpose(x: Tensor, weight: Tensor, stride: Pair, begin: Pair, dilation: Pair, groups: int, size: Pair) -> Tensor:
    """Transposed convolution.

    Parameters
    ----------
    weight : shape (M, N / groups, Kh, Kw)
        Weights, a filter for each output channel.
    begin
        Lines left out above and on the left, as `torch.nn.ConvTranspose2d` does by padding.
    size
        (height, width) of the result.
    """
    outputs, inputs, *kernel = weight.shape
    turned = weight.reshape(groups, outputs // groups, inputs, *kernel).transpose(1, 2)
    turned = turned.reshape(groups * inputs, outputs // groups, *kernel)
    y = F.conv_transpose2d(x, turned, None, stride, 0, 0, groups, dilation)
    after = [want + cut - length for want, cut, length in zip(size, begin, y.shape[2:], strict=True)]
    return pad(y, (-begin[0], -begin[1], after[0], after[1]))


def around(size: Pair, begin: Pair, output: Pair, kernel: Pair, stride: Pair, dilation: Pair = (1, 1)) -> Padding:
    """Padding with which windows over a map have an output of that size.

    Parameters
    ----------
    size, output
        Of the map and of the result.
    begin
        (top, left) padding.

    Returns
    -------
    The same above and below, and left and right, where that does; else four sides.
    """
    axes = list(zip(size, begin, output, kernel, stride, dilation, strict=True))
    if min(begin) >= 0 and all((n + 2 * b - d * (k - 1) - 1) // s + 1 == o for n, b, o, k, s, d in axes):
        return begin
    bottom, right = ((o - 1) * s + d * (k - 1) + 1 - n - b for n, b, o, k, s, d in axes)
    return *begin, bottom, right


@dataclass(frozen=True)
class WindowRun:
    """Neighbouring windows of an average along one axis that are alike.

    Parameters
    ----------
    count
        Windows, each of which gives an output.
    start
        First position of the first one; negative in the padding.
    size, step
        Positions of a window, and from one to the next.
    divisor
        What the sum of a window is divided by.
    """

    count: int
    start: int
    size: int
    step: int
    divisor: int


def pooling_runs(
    length: int,
    kernel: int,
    stride: int,
    padding: int,
    outputs: int,
    *,
    count_padding: bool = True,
    before: int = 0,
    divisor: int | None = None,
) -> tuple[WindowRun, ...]:
    """The windows of `torch.nn.AvgPool2d` along an axis.

    Parameters
    ----------
    length
        Of the map, zeros that were added by the model included.
    outputs
        Windows; the last may reach beyond the padding (`ceil_mode`).
    count_padding
        The pooling's own padding counts in the divisor.
    before
        Zeros that were added by the model above or on the left; positions are counted without them.
    divisor
        Of every window, instead of the number of its positions.
    """
    windows = []
    for n in range(outputs):
        start = n * stride - padding
        least, most = (start, length + padding) if count_padding else (max(start, 0), length)
        counted = max(1, min(start + kernel, most) - least)
        windows.append((start - before, kernel, counted if divisor is None else divisor))
    return _runs(windows)


def adaptive_runs(length: int, outputs: int, *, before: int = 0) -> tuple[WindowRun, ...]:
    """The windows of `torch.nn.AdaptiveAvgPool2d` along an axis; parameters as of `pooling_runs`."""
    windows = []
    for n in range(outputs):
        start, stop = n * length // outputs, -(-(n + 1) * length // outputs)
        windows.append((start - before, stop - start, stop - start))
    return _runs(windows)


def _runs(windows: list[tuple[int, int, int]]) -> tuple[WindowRun, ...]:
    """Windows (start, size, divisor) as few runs."""
    parts: list[list[tuple[int, int, int]]] = []
    for window in windows:
        part = parts[-1] if parts else []
        steps = {after[0] - before[0] for before, after in pairwise([*part, window])}
        if part and part[-1][1:] == window[1:] and len(steps) == 1:
            part.append(window)
        else:
            parts.append([window])
    runs = []
    for part in parts:
        (start, size, divisor), count = part[0], len(part)
        runs.append(WindowRun(count, start, size, part[1][0] - start if count > 1 else 1, divisor))
    return tuple(runs)
