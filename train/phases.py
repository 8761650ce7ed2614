"""Transposed convolutions as phases: ordinary convolutions, each of which gives every so many positions of the output.

Along an axis, output y is the sum of ``w[k] * x[i]`` over ``i * stride - padding + k * dilation = y``. The outputs
``offset + n * stride`` meet the same taps k, whose inputs are some positions from each other.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import product
from math import gcd

import numpy as np

from twofold.golden.network import Branch, Pair
from twofold.golden.parts import Part


@dataclass(frozen=True)
class Axis:
    """One phase along one axis.

    Parameters
    ----------
    offset, count, step
        Its first output, how many there are, and from one to the next.
    taps
        Kernel positions, in the order of their inputs.
    begin, dilation
        Padding before the inputs, and positions from a tap's input to the next one's.
    """

    offset: int
    count: int
    step: int
    taps: tuple[int, ...]
    begin: int
    dilation: int

    def end(self, length: int) -> int:
        """Padding behind a source of that length."""
        return self.count + self.dilation * (len(self.taps) - 1) - length - self.begin


def axis_phases(kernel: int, stride: int, padding: int, dilation: int, outputs: int) -> list[Axis]:
    """The phases of a transposed convolution along an axis.

    Raises
    ------
    ValueError
        If a phase meets no tap.
    """
    found = []
    for offset in range(min(stride, outputs)):
        taps = [k for k in reversed(range(kernel)) if (offset + padding - k * dilation) % stride == 0]
        if not taps:
            raise ValueError(f"kernel must reach every output, not {kernel} with stride {stride}, dilation {dilation}")
        begin = -((offset + padding - taps[0] * dilation) // stride)
        count = len(range(offset, outputs, stride))
        found.append(Axis(offset, count, stride, tuple(taps), begin, dilation // gcd(dilation, stride)))
    return found


def split(
    weights: Iterable[Branch],
    addends: Iterable[Branch],
    rows: list[Axis],
    columns: list[Axis],
    channels: int,
    sizes: Mapping[str, Pair],
) -> tuple[tuple[Part, ...], tuple[Branch, ...]]:
    """Parts of an output of so many channels, and their branches.

    Parameters
    ----------
    weights
        Of the transposed convolution, with all its taps.
    addends
        Of tensors that are added, over the output's positions.
    rows, columns
        Phases along the height and the width.
    sizes
        (height, width) of every source.
    """
    parts, found = list[Part](), list[Branch]()
    weights, addends = list(weights), list(addends)
    for number, axes in enumerate(product(rows, columns)):
        row, column = axes
        start = number * channels
        parts.append(Part((row.offset, column.offset), (row.step, column.step), (row.count, column.count)))
        found += [replace(_tapped(one, axes, sizes), channel=one.channel + start) for one in weights]
        found += [replace(_stepped(one, axes, sizes), channel=one.channel + start) for one in addends]
    return tuple(parts), tuple(found)


def _tapped(branch: Branch, axes: tuple[Axis, Axis], sizes: Mapping[str, Pair]) -> Branch:
    """The taps of a phase."""
    row, column = axes
    (height, width), codes = sizes[branch.source], branch.codes[..., list(row.taps), :][..., list(column.taps)]
    return replace(
        branch,
        codes=np.ascontiguousarray(codes),
        padding=(row.begin, column.begin, row.end(height), column.end(width)),
        dilation=(row.dilation, column.dilation),
        stride=(1, 1),
    )


def _stepped(branch: Branch, axes: tuple[Axis, Axis], sizes: Mapping[str, Pair]) -> Branch:
    """A branch of one tap at the positions of a phase."""
    stride, begin, end = [], [], []
    for axis, length, step, pad in zip(axes, sizes[branch.source], branch.stride, branch.begin, strict=True):
        stride.append(step * axis.step)
        begin.append(pad - axis.offset * step)
        end.append((axis.count - 1) * stride[-1] + 1 - length - begin[-1])
    return replace(branch, stride=(stride[0], stride[1]), padding=(begin[0], begin[1], end[0], end[1]))
