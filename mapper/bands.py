"""RowRange of a layer's output that are computed together, and the rows of its sources that they need.

Where a tensor lies outside the chip, only a band of its rows is on it at a time.
"""

from typing import NamedTuple

from twofold.golden.config import ArrayConfig
from twofold.golden.network import Branch, Layer, Network
from twofold.golden.parts import Part
from twofold.mapper.chunks import Chunk, chunks, even
from twofold.mapper.tiles import used_stride


class RowRange(NamedTuple):
    """RowRange `begin` to `end` of a tensor, the latter not included."""

    begin: int
    end: int

    @property
    def height(self) -> int:
        """How many."""
        return self.end - self.begin


class Slab(NamedTuple):
    """RowRange of a tensor, for a `role` in a layer: source, skip or output."""

    name: str
    role: str
    rows: RowRange


def planes(config: ArrayConfig, channels: int) -> int:
    """Groups of `rows` channels."""
    return -(-channels // config.rows)


def part_rows(part: Part, band: RowRange) -> RowRange:
    """Which of a part's rows are in a band of the whole map."""
    first, step = part.offset[0], part.step[0]
    begin, end = (max(0, min(part.size[0], -(-(row - first) // step))) for row in band)
    return RowRange(begin, end)


def source_rows(network: Network, layer: Layer, source: str, band: RowRange) -> RowRange:
    """RowRange of a source under the windows of a band of the output."""
    needed = []
    height = network.tensors[source].shape[1]
    for part, piece in layer.pieces:
        inside = part_rows(part, band)
        if inside.height > 0:
            windows = [one for one in piece.branches if one.source == source]
            strides = [used_stride(one, piece.output.shape[1:])[0] for one in windows]
            needed += [_window_rows(one, step, inside, height) for one, step in zip(windows, strides, strict=True)]
    needed = [rows for rows in needed if rows.height > 0]
    if not needed:
        return RowRange(0, 0)
    return RowRange(min(rows.begin for rows in needed), max(rows.end for rows in needed))


def _window_rows(branch: Branch, stride: int, rows: RowRange, height: int) -> RowRange:
    """Input rows under a branch's windows, those in the padding left out."""
    begin = rows.begin * stride - branch.begin[0]
    end = (rows.end - 1) * stride - branch.begin[0] + (branch.kernel[0] - 1) * branch.dilation[0] + 1
    return RowRange(max(0, min(begin, height)), max(0, min(end, height)))


def cut(height: int, rows: int) -> list[RowRange]:
    """A map's rows as bands of at most `rows`, as equal as can be."""
    found, begin = [], 0
    for size in even(height, -(-height // rows)):
        found.append(RowRange(begin, begin + size))
        begin += size
    return found


def slabs(network: Network, layer: Layer, outside: frozenset[str], band: RowRange) -> list[Slab]:
    """What must be on the chip for a band of a layer's output, of the tensors that lie outside; the output comes last.

    A skip lies row by row as the output does, so it has a slab of its own.
    """
    sources = dict.fromkeys(branch.source for branch in layer.branches)
    found = [Slab(name, "source", source_rows(network, layer, name, band)) for name in sources if name in outside]
    if layer.skip is not None and layer.skip.source in outside:
        found.append(Slab(layer.skip.source, "skip", band))
    if layer.name in outside:
        found.append(Slab(layer.name, "output", band))
    return [one for one in found if one.rows.height > 0]


def slab_lines(config: ArrayConfig, network: Network, slab: Slab) -> int:
    """Feature lines that a slab takes."""
    channels, _, width = network.tensors[slab.name].shape
    return planes(config, channels) * slab.rows.height * width


def band_chunks(part: Part, piece: Layer, band: RowRange, depth: int) -> list[Chunk]:
    """The chunks of a part's positions in a band, the fewest that accumulators of `depth` positions can hold."""
    rows, width = part_rows(part, band), piece.output.shape[2]
    if rows.height < 1:
        return []
    count = -(-rows.height // max(1, depth // width))
    found = chunks(rows.height, width, rows.height if width > depth else count, depth)
    return [chunk._replace(y=chunk.y + rows.begin) for chunk in found]
