"""Transposed convolutions as layers in parts: a phase of them (`golden.phases`) is a part's branches."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import product

import numpy as np

from twofold.golden.network import Branch, Pair
from twofold.golden.parts import Part
from twofold.golden.phases import Axis


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
