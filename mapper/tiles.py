"""A layer's weights as tiles: which blocks of codes the array must hold, and for which lanes and columns.

A tile is `rows` input channels by `cols` output channels of one kernel position of one word; or of up to three, where
outputs see one channel each (`mapper.chains`). Tiles whose words are all zero are left out, so grouped convolutions and
second words cost only where they hold something.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from twofold.golden.config import ArrayConfig
from twofold.golden.formats import PointSet
from twofold.golden.network import Branch, Layer, Network, Pair
from twofold.golden.products import column_constants, idle_sum
from twofold.mapper.chains import Tap, chain_block, chain_fits, chain_passes


@dataclass(frozen=True)
class Geometry:
    """How a branch's windows lie over its source; what WINDOW says besides the chunk.

    Parameters
    ----------
    source
        Name of the source tensor.
    height, width
        Its size.
    stride, padding, dilation
        (vertical, horizontal); the padding is that above and on the left. What is below and on the right follows from
        the size of the output.
    """

    source: str
    height: int
    width: int
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]


@dataclass(frozen=True)
class TilePass:
    """One pass of an output tile, for any chunk of positions.

    Parameters
    ----------
    geometry
        The windows.
    group
        Which `rows` channels of the source.
    tap
        (ky, kx), the kernel position; of a chain pass the leftmost one.
    block
        Weight lines (`load_columns` columns of codes each), as many as are loaded.
    point_set
        Name of the point set.
    shift
        Left shift of the column sums (bits).
    row_mask, col_mask
        Lanes that supply activations, columns whose accumulators change.
    signed, maximum, chain, drop, clip
        As in PASS.
    purpose
        ``weights``, ``words`` (further ones of the same weights) or ``constants`` (residuals and pooling).
    """

    geometry: Geometry
    group: int
    tap: tuple[int, int]
    block: tuple[int, ...]
    point_set: str
    shift: int
    row_mask: int
    col_mask: int
    signed: bool
    maximum: bool
    chain: bool
    purpose: str
    drop: int = 0
    clip: int = 0


@dataclass(frozen=True)
class OutputTile:
    """Up to `cols` output channels of a layer and the passes that make them.

    Parameters
    ----------
    start, columns
        First channel and number of channels.
    passes
        In the order of branches, input groups, kernel positions and words.
    correction : int64, shape (columns,)
        To be added to the bias, in accumulator units: less what column sums hold besides weights times activations.
    """

    start: int
    columns: int
    passes: tuple[TilePass, ...]
    correction: NDArray[np.int64]


def output_tiles(config: ArrayConfig, network: Network, layer: Layer) -> Iterator[OutputTile]:
    """Tiles of a layer's output channels, in channel order."""
    channels = layer.output.shape[0]
    for start in range(0, channels, config.cols):
        columns = min(config.cols, channels - start)
        passes: list[TilePass] = []
        correction = np.zeros(columns, dtype=np.int64)
        for branch in layer.branches:
            for tile, constants in _branch_passes(config, network, layer, branch, start, columns):
                passes.append(tile)
                part = -np.left_shift(constants, tile.shift)
                chosen = mask_bits(tile.col_mask, columns)
                if layer.maximum:
                    # The constant is the same in all the passes that a maximum compares: they hold the same words.
                    assert ((correction[chosen] == 0) | (correction[chosen] == part[chosen])).all()
                    correction[chosen] = part[chosen]
                else:
                    correction[chosen] += part[chosen]
        correction[~reached(passes, columns)] = -idle_sum(config)
        yield OutputTile(start, columns, tuple(passes), correction)


def reached(passes: Sequence[TilePass], columns: int) -> NDArray[np.bool_]:
    """Which columns have a pass, shape (columns,)."""
    masks = [mask_bits(one.col_mask, columns) for one in passes]
    some: NDArray[np.bool_] = np.any([np.zeros(columns, dtype=bool), *masks], axis=0)
    return some


def mask_bits(mask: int, count: int) -> NDArray[np.bool_]:
    """The low `count` bits of a mask, as truth values."""
    return np.array([mask >> n & 1 for n in range(count)], dtype=bool)


def _mask(bits: NDArray[np.bool_]) -> int:
    return sum(1 << n for n in np.flatnonzero(bits).tolist())


def _branch_passes(
    config: ArrayConfig, network: Network, layer: Layer, branch: Branch, start: int, columns: int
) -> Iterator[tuple[TilePass, NDArray[np.int64]]]:
    """Passes of one branch for one output tile, each with `column_constants` of every column."""
    source = network.tensors[branch.source]
    points = network.point_sets[branch.point_set]
    stride = used_stride(branch, layer.output.shape[1:])
    geometry = Geometry(branch.source, source.shape[1], source.shape[2], stride, branch.begin, branch.dilation)
    first = max(start, branch.channel)
    channels = np.arange(first, min(start + columns, branch.channel + branch.out_channels)) - branch.channel
    if not len(channels):
        return
    offset = first - start
    values = np.array(points.values, dtype=np.int64)
    taps = _live_taps(geometry, layer.output.shape[1:], branch.kernel)
    read = np.arange(branch.in_channels) if branch.channels is None else np.array(branch.channels)
    for group in np.unique(read // config.rows).tolist():
        codes, valid = _block(branch, points, channels, _lanes(config, read, group), offset)
        live = [
            (*tap, word) for tap, word in product(taps, range(len(codes))) if values[codes[word, *tap]][valid].any()
        ]
        chained: dict[Tap, tuple[int, ...]] = {}
        if points.has_zero and not layer.maximum and branch.dilation[1] == 1 and chain_fits(config, valid):
            chained = chain_passes(config, live, layer.output.shape[1:], stride[1], valid.shape[1])
        covered = {(ky, kx, word) for (ky, _, word), taken in chained.items() for kx in taken}
        for ky, kx, word in sorted({*live} - covered | {*chained}):
            block, chain = codes[word, ky, kx], (ky, kx, word) in chained
            if chain:
                block = chain_block(codes[word, ky], valid, points.encode(0), chained[ky, kx, word])
            lines = _lines(config, block)
            constants = np.zeros(columns, dtype=np.int64)
            constants[: block.shape[1]] = column_constants(config, values, block, signed=source.signed)
            for row_mask, col_mask in _masks(valid, points, layer.maximum, offset):
                tile = TilePass(
                    geometry,
                    group,
                    (ky, kx),
                    lines,
                    branch.point_set,
                    branch.shifts[word],
                    row_mask,
                    col_mask,
                    source.signed,
                    layer.maximum,
                    chain,
                    _purpose(layer, branch, word),
                    *_left_out(config, branch),
                )
                yield tile, constants


def _left_out(config: ArrayConfig, branch: Branch) -> tuple[int, int]:
    """Low and high bits of an activation that a branch does not read."""
    narrow = branch.narrow
    return (0, 0) if narrow is None else (narrow.drop, config.act_bits - narrow.bits - narrow.drop)


def weight_branches(layer: Layer) -> list[Branch]:
    """The branches that hold weights of the network: not poolings, additions and what a convolution takes in channel by
    channel (a residual)."""
    if layer.kind not in ("conv2d", "linear"):
        return []
    return [branch for number, branch in enumerate(layer.branches) if number == 0 or not _channelwise(branch)]


def _channelwise(branch: Branch) -> bool:
    return branch.groups == branch.in_channels == branch.out_channels and branch.kernel == (1, 1)


def _purpose(layer: Layer, branch: Branch, word: int) -> str:
    if not any(branch is one for one in weight_branches(layer)):
        return "constants"
    return "words" if word else "weights"


def used_stride(branch: Branch, size: tuple[int, ...]) -> Pair:
    """Stride along the axes that have more than one output; 1 along others, where no step is taken."""
    vertical, horizontal = (step if count > 1 else 1 for step, count in zip(branch.stride, size, strict=True))
    return vertical, horizontal


def _live_taps(geometry: Geometry, size: tuple[int, ...], kernel: tuple[int, int]) -> list[tuple[int, int]]:
    """Kernel positions that see anything but padding."""
    live = []
    for count, taps, length, axis in zip(size, kernel, (geometry.height, geometry.width), (0, 1), strict=True):
        step, pad, dil = geometry.stride[axis], geometry.padding[axis], geometry.dilation[axis]
        live.append([k for k in range(taps) if any(0 <= n * step - pad + k * dil < length for n in range(count))])
    return [(ky, kx) for ky in live[0] for kx in live[1]]


def _lanes(config: ArrayConfig, read: NDArray[np.int64], group: int) -> NDArray[np.int64]:
    """Which input of the branch each lane supplies, shape (rows,); -1: none."""
    lanes = np.full(config.rows, -1)
    inputs = np.flatnonzero(read // config.rows == group)
    lanes[read[inputs] - group * config.rows] = inputs
    return lanes


def _block(
    branch: Branch, points: PointSet, channels: NDArray[np.int64], lanes: NDArray[np.int64], offset: int
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Codes of the tile, shape (words, Kh, Kw, rows, columns), and which of rows x columns the branch connects.

    What it does not connect holds zero where the point set has it, else some positive code, for masks to hide.
    """
    words, _, per_group, height, width = branch.codes.shape
    filler = points.encode(0) if points.has_zero else 0
    shape = (len(lanes), offset + len(channels))
    codes = np.full((words, height, width, *shape), filler, dtype=np.uint8)
    valid = np.zeros(shape, dtype=bool)
    per_channel = branch.out_channels // branch.groups
    for column, channel in enumerate(channels.tolist(), start=offset):
        inputs = lanes - channel // per_channel * per_group
        seen = np.flatnonzero((lanes >= 0) & (inputs >= 0) & (inputs < per_group))
        codes[..., seen, column] = branch.codes[:, channel, inputs[seen]].transpose(0, 2, 3, 1)
        valid[seen, column] = True
    return codes, valid


def _masks(valid: NDArray[np.bool_], points: PointSet, maximum: bool, offset: int) -> list[tuple[int, int]]:
    """(row_mask, col_mask) of the passes that a tile needs.

    One, where zeros hide what is not connected: then a sum takes all of the branch's columns, so that one `first` pass
    starts them all, but a maximum must leave alone the columns that have no input here. Without a zero, one for each
    set of columns that see the same lanes.
    """
    connected = np.asarray(valid.any(axis=0))
    if points.has_zero or valid[:, connected].all(axis=1).sum() == valid.any(axis=1).sum():
        whole = np.array(connected)
        if points.has_zero and not maximum:
            whole[offset:] = True
        return [(_mask(np.asarray(valid.any(axis=1))), _mask(whole))]
    masks: dict[int, int] = {}
    for column in np.flatnonzero(connected).tolist():
        lanes = _mask(valid[:, column])
        masks[lanes] = masks.get(lanes, 0) | 1 << column
    return list(masks.items())


def _lines(config: ArrayConfig, block: NDArray[np.uint8]) -> tuple[int, ...]:
    """Weight lines of a block: column by column, lane 0 in the low bits; the last line padded with code 0."""
    bits, lanes = config.fmt.code_bits, config.load_columns * config.rows
    codes = block.T.reshape(-1).tolist()
    lines = (codes[begin : begin + lanes] for begin in range(0, len(codes), lanes))
    return tuple(sum(code << (lane * bits) for lane, code in enumerate(line)) for line in lines)
