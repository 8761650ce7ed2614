"""What the chip's memories hold in the pass-level model, and how lines of bits become that."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from twofold.golden.catalog import log_points
from twofold.golden.config import ArrayConfig
from twofold.golden.isa import Section, decode_channels, point_record

Array = NDArray[np.int64]


class Memories:
    """All memories of a build, zeros at first.

    Parameters
    ----------
    config
        The build.

    Attributes
    ----------
    feature : int64, shape (feature_depth, rows)
        Raw lanes, unsigned.
    weight : int64, shape (weight_depth, load_columns, rows)
        Codes.
    channel : int64, shape (channel_depth, 3, requant_units)
        Bias, multiplier and right shift of each unit's channel.
    program
        Lines.
    tables : int64, shape (table_lines,)
        Entries.
    values : int64, shape (sets, 2 * point_count)
        The weight of every code of every resident point set.
    """

    def __init__(self, config: ArrayConfig) -> None:
        self.config = config
        self.feature = np.zeros((config.feature_depth, config.rows), dtype=np.int64)
        self.weight = np.zeros((config.weight_depth, config.load_columns, config.rows), dtype=np.int64)
        self.channel = np.zeros((config.channel_depth, 3, config.requant_units), dtype=np.int64)
        self.program: list[int] = [0] * config.program_depth
        self.tables = np.zeros(config.table_lines, dtype=np.int64)
        self.values = np.zeros((config.sets, 2 * config.fmt.point_count), dtype=np.int64)
        if config.pe == "log":
            self.values[0] = log_points(config.fmt).values

    def write_lines(self, kind: Section, address: int, lines: Sequence[int]) -> None:
        """Write lines of bits from line `address` on."""
        if not lines:
            return
        config = self.config
        last = address + len(lines)
        if kind is Section.FEATURE:
            self.feature[address:last] = lanes_of(lines, config.act_bits, config.rows)
        elif kind is Section.WEIGHT:
            codes = lanes_of(lines, config.fmt.code_bits, config.load_columns * config.rows)
            self.weight[address:last] = codes.reshape(-1, config.load_columns, config.rows)
        elif kind is Section.TABLES:
            self.tables[address:last] = lines
        elif kind is Section.PROGRAM:
            self.program[address:last] = lines
        else:
            write = self._write_channels if kind is Section.CHANNEL else self._write_point
            for number, line in enumerate(lines, start=address):
                write(number, line)

    def _write_channels(self, number: int, line: int) -> None:
        for unit, channel in enumerate(decode_channels(self.config, line)):
            self.channel[number, :, unit] = channel.bias, channel.multiplier, channel.right

    def _write_point(self, number: int, line: int) -> None:
        fmt = self.config.fmt
        selects = point_record(self.config).unpack(line)
        level = sum(_term(menu, selects[f"term{n}"]) for n, menu in enumerate(fmt.menus))
        resident, index = divmod(number, fmt.point_count)
        self.values[resident, [index, index + fmt.point_count]] = level, -level


def lanes_of(lines: Sequence[int], bits: int, count: int) -> Array:
    """The lanes of lines; what is above them is dropped.

    Returns
    -------
    int64, shape (lines, count), unsigned; the first lane is in a line's low bits.
    """
    size, mask = -(-bits * count // 8), (1 << bits * count) - 1
    raw = np.frombuffer(b"".join((line & mask).to_bytes(size, "little") for line in lines), dtype=np.uint8)
    split = np.unpackbits(raw.reshape(-1, size), axis=1, bitorder="little", count=bits * count)
    lanes: Array = (split.reshape(-1, count, bits).astype(np.int64) << np.arange(bits)).sum(axis=2)
    return lanes


def lines_of(lanes: Array, bits: int) -> list[int]:
    """Lines of bits; the reverse of `lanes_of`."""
    split = ((lanes[:, :, None] >> np.arange(bits)) & 1).astype(np.uint8)
    packed = np.packbits(split.reshape(len(lanes), -1), axis=1, bitorder="little")
    return [int.from_bytes(row.tobytes(), "little") for row in packed]


def _term(menu: tuple[int | None, ...], select: int) -> int:
    shift = menu[select] if select < len(menu) else None
    return 0 if shift is None else 1 << shift
