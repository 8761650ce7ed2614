"""What the compiler says to the machine: instructions, channels, memory lines, sections of stream frames.

Standard library only: hardware, mapper, image and drivers read the same types.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields
from enum import IntEnum
from functools import cache
from typing import Any, ClassVar, Self

from twofold.golden.config import CHAIN, ArrayConfig, bits_for
from twofold.golden.fields import Field, Record


class Opcode(IntEnum):
    """The low bits of a program line. Zero is illegal, so that empty memory stops the machine."""

    ILLEGAL = 0
    WINDOW = 1
    PASS = 2
    DRAIN = 3
    OUTPUT = 4
    END = 5
    SYNC = 6


OPCODE_BITS = 3


class Section(IntEnum):
    """What a section of a stream frame carries."""

    END = 0
    FEATURE = 1
    WEIGHT = 2
    CHANNEL = 3
    PROGRAM = 4
    POINTS = 5
    TABLES = 6


#: First beat of every frame into the machine: "2FLD", little-endian.
FRAME_MAGIC = 0x444C4632
#: Bits of a beat of both streams.
STREAM_BITS = 32
#: A section header is two beats: kind in the top byte and number of lines below it; then the first line's address.
SECTION_HEADER = Record.unsigned({"count": 24, "kind": 8})


def _bits(width: Callable[[ArrayConfig], int], *, signed: bool = False) -> dict[str, Callable[[ArrayConfig], Field]]:
    """Metadata of an operand: its field in a build."""
    return {"field": lambda config: Field(width(config), signed)}


_FLAG = _bits(lambda config: 1)
_SIDE = _bits(lambda config: bits_for(config.max_side + 1))
_STEP = _bits(lambda config: 4)
_FEATURE_LINE = _bits(lambda config: bits_for(config.feature_depth))
_COORDINATE = _bits(lambda config: config.coord_bits, signed=True)
_CLIP = _bits(lambda config: config.clip_bits, signed=True)
_READ = _bits(lambda config: bits_for(config.act_bits) if config.narrow_reads else 0)
#: Width (bits) of the shift of a skip: beyond it nothing of 8 bits would be left, or nothing else be seen.
SKIP_SHIFT_BITS = 4
#: Width (bits) of counts of transfers and of drains in an inference.
TRANSFER_COUNT_BITS = 24


@dataclass(frozen=True, kw_only=True)
class Instruction:
    """An instruction with its operands; the operands' order is that of their bits, the first lowest."""

    opcode: ClassVar[Opcode]

    @classmethod
    @cache
    def record(cls, config: ArrayConfig) -> Record:
        """The operands' fields in a build; in a program line they stand above the opcode."""
        return Record({operand.name: operand.metadata["field"](config) for operand in fields(cls)})

    @classmethod
    def zero(cls, **operands: int) -> Self:
        """The instruction with these operands, and 0 for the others."""
        values: dict[str, Any] = dict.fromkeys((operand.name for operand in fields(cls)), 0)
        return cls(**(values | operands))

    def encode(self, config: ArrayConfig) -> int:
        """Program line.

        Raises
        ------
        ValueError
            If an operand does not fit in its field.
        """
        return self.record(config).pack(vars(self)) << OPCODE_BITS | self.opcode

    @classmethod
    def decode(cls, config: ArrayConfig, line: int) -> Self:
        """From a program line, whose opcode is this instruction's."""
        return cls(**cls.record(config).unpack(line >> OPCODE_BITS))


@dataclass(frozen=True, kw_only=True)
class Window(Instruction):
    """WINDOW: geometry of the passes and drains that follow, the chunk's rectangle and the map it looks into."""

    opcode = Opcode.WINDOW
    width: int = field(metadata=_SIDE)  # positions in a row of the chunk
    height: int = field(metadata=_SIDE)  # rows of the chunk
    in_width: int = field(metadata=_SIDE)  # input columns (in-bounds: 0 <= x < in_width)
    in_height: int = field(metadata=_SIDE)
    step_x: int = field(metadata=_STEP)  # stride
    step_y: int = field(metadata=_STEP)
    row_step: int = field(metadata=_FEATURE_LINE)  # feature lines from one row of windows to the next
    out_step: int = field(default=1, metadata=_STEP)  # feature lines from a position that is written to the next

    @property
    def positions(self) -> int:
        """Output positions of the chunk."""
        return self.width * self.height

    def streamed(self, chain: int | bool) -> int:
        """Positions that a pass streams: the chunk's, or with `chain` every input position of its rows."""
        return self.height * ((self.width - 1) * self.step_x + CHAIN) if chain else self.positions


@dataclass(frozen=True, kw_only=True)
class Pass(Instruction):
    """PASS: one tile of words past one chunk of positions. With `kept`, weights, groups and set mean nothing."""

    opcode = Opcode.PASS
    address: int = field(metadata=_FEATURE_LINE)  # line of the first position's tap, modulo the depth's power of two
    x: int = field(metadata=_COORDINATE)  # input coordinates of the same
    y: int = field(metadata=_COORDINATE)
    weights: int = field(metadata=_bits(lambda config: bits_for(config.weight_depth)))  # line of the first columns
    groups: int = field(metadata=_bits(lambda config: bits_for(config.load_groups)))  # lines to load, minus one
    set: int = field(metadata=_bits(lambda config: bits_for(config.sets)))  # point set of the tile
    kept: int = field(metadata=_FLAG)  # the array holds the tile already: nothing is loaded
    shift: int = field(metadata=_bits(lambda config: bits_for(config.max_pass_shift + 1)))
    signed: int = field(metadata=_FLAG)  # activations are two's complement
    drop: int = field(default=0, metadata=_READ)  # low bits of an activation that are read as zeros
    clip: int = field(
        default=0, metadata=_READ
    )  # high bits, below the sign, that activations are clipped to be without
    first: int = field(metadata=_FLAG)  # accumulators start afresh: from 0, with `maximum` from the least number
    chain: int = field(metadata=_FLAG)  # three neighbouring taps of channel-by-channel words at once
    maximum: int = field(metadata=_FLAG)  # maximum instead of sum; out-of-bounds windows change nothing
    wait: int = field(metadata=_FLAG)  # start only when the requantiser is idle
    row_mask: int = field(metadata=_bits(lambda config: config.rows))  # lanes not set supply zero
    col_mask: int = field(metadata=_bits(lambda config: config.cols))  # columns not set keep their accumulators


@dataclass(frozen=True, kw_only=True)
class Drain(Instruction):
    """DRAIN: requantise the accumulators of the chunk, the last WINDOW's rectangle, and change banks."""

    opcode = Opcode.DRAIN
    address: int = field(metadata=_FEATURE_LINE)  # feature line of the first position, first column
    row_step: int = field(metadata=_FEATURE_LINE)  # lines from the last position of a row to the next row's first
    plane: int = field(metadata=_FEATURE_LINE)  # lines from a group of `rows` channels to the next
    lane: int = field(metadata=_bits(lambda config: bits_for(config.rows)))  # lane of the first column
    #: Groups of `requant_units` columns, minus one.
    groups: int = field(metadata=_bits(lambda config: bits_for(config.cols // config.requant_units)))
    channels: int = field(metadata=_bits(lambda config: bits_for(config.channel_depth)))  # line of the first group
    low: int = field(metadata=_CLIP)  # clip bounds
    high: int = field(metadata=_CLIP)
    skip: int = field(default=0, metadata=_FLAG)  # a skip is added; if not, the operands below mean nothing
    skip_offset: int = field(default=0, metadata=_FEATURE_LINE)  # lines from one that is written to the skip's, modulo
    skip_shift: int = field(default=0, metadata=_bits(lambda config: SKIP_SHIFT_BITS, signed=True))  # left shift
    skip_signed: int = field(default=0, metadata=_FLAG)  # activations of the skip are two's complement
    tabled: int = field(default=0, metadata=_bits(lambda config: min(1, config.tables)))  # a table follows the clip
    table: int = field(default=0, metadata=_bits(lambda config: bits_for(config.tables) if config.tables else 0))

    def position_cycles(self, config: ArrayConfig) -> int:
        """Cycles that a position takes: one a group; with a skip at least two a line, which is read and written."""
        groups, most = self.groups + 1, config.rows // config.requant_units
        if not self.skip:
            return groups
        first = min(groups, most - self.lane // config.requant_units)
        lines, last = divmod(groups - first, most)
        return max(2, first) + lines * max(2, most) + (max(2, last) if last else 0)


@dataclass(frozen=True, kw_only=True)
class Output(Instruction):
    """OUTPUT: send feature lines to the host."""

    opcode = Opcode.OUTPUT
    address: int = field(metadata=_FEATURE_LINE)
    count: int = field(metadata=_FEATURE_LINE)  # lines, minus one


@dataclass(frozen=True, kw_only=True)
class End(Instruction):
    """END: the inference is complete."""

    opcode = Opcode.END


@dataclass(frozen=True, kw_only=True)
class Sync(Instruction):
    """SYNC: wait until so many transfers of this inference are done (builds with external memory only)."""

    opcode = Opcode.SYNC
    need: int = field(metadata=_bits(lambda config: TRANSFER_COUNT_BITS))


def instructions(config: ArrayConfig) -> dict[int, type[Instruction]]:
    """The instructions of a build, by their opcodes."""
    kinds = (Window, Pass, Drain, Output, End) + (Sync,) * config.external
    return {kind.opcode: kind for kind in kinds}


def decode(config: ArrayConfig, line: int) -> Instruction:
    """Instruction of a program line.

    Raises
    ------
    ValueError
        If the opcode is illegal.
    """
    number, known = line & ((1 << OPCODE_BITS) - 1), instructions(config)
    if number not in known:
        raise ValueError(f"Opcode must be {min(known)} to {max(known)}, not {number!r}")
    return known[number].decode(config, line)


@dataclass(frozen=True)
class Digit:
    """A signed power of two of a channel's multiplier: ``+-2**shift`` if `on`, else nothing."""

    shift: int = 0
    minus: int = 0
    on: int = 0

    @property
    def value(self) -> int:
        """What it adds to the multiplier."""
        return (-1 if self.minus else 1) << self.shift if self.on else 0


@dataclass(frozen=True)
class Channel:
    """Requantisation of one output channel: ``rne((acc + bias) * multiplier * 2**-right)``.

    Parameters
    ----------
    bias
        In accumulator LSBs.
    digits
        Whose sum is the multiplier; at most `ArrayConfig.digits`.
    right
        Right shift (bits).
    """

    bias: int
    digits: tuple[Digit, ...]
    right: int

    @property
    def multiplier(self) -> int:
        """The integer that the sum is multiplied by."""
        return sum(digit.value for digit in self.digits)

    @staticmethod
    @cache
    def record(config: ArrayConfig) -> Record:
        """The fields of a channel in a build."""
        found = {"bias": Field(config.acc_width, signed=True)}
        for n in range(config.digits):
            found |= {f"shift{n}": Field(bits_for(config.digit_span + 1)), f"minus{n}": Field(1), f"on{n}": Field(1)}
        return Record(found | {"right": Field(bits_for(config.scaled_bits + 1))})

    def encode(self, config: ArrayConfig) -> int:
        """Its bits in a channel line.

        Raises
        ------
        ValueError
            If there are too many digits, or a value does not fit in its field.
        """
        if len(self.digits) > config.digits:
            raise ValueError(f"Channel must have at most {config.digits} digits, not {len(self.digits)!r}")
        values = {"bias": self.bias, "right": self.right}
        for n, digit in enumerate(self.digits + (Digit(),) * (config.digits - len(self.digits))):
            values |= {f"shift{n}": digit.shift, f"minus{n}": digit.minus, f"on{n}": digit.on}
        return self.record(config).pack(values)

    @classmethod
    def decode(cls, config: ArrayConfig, word: int) -> "Channel":
        """From its bits in a channel line."""
        values = cls.record(config).unpack(word)
        digits = (Digit(values[f"shift{n}"], values[f"minus{n}"], values[f"on{n}"]) for n in range(config.digits))
        return cls(values["bias"], tuple(digits), values["right"])


def encode_channels(config: ArrayConfig, channels: Iterable[Channel]) -> int:
    """A channel line: at most `requant_units` channels, the first in the low bits."""
    width = Channel.record(config).width
    return sum(channel.encode(config) << (unit * width) for unit, channel in enumerate(channels))


def decode_channels(config: ArrayConfig, line: int) -> tuple[Channel, ...]:
    """The `requant_units` channels of a line; the reverse of `encode_channels`."""
    width = Channel.record(config).width
    return tuple(Channel.decode(config, line >> (unit * width)) for unit in range(config.requant_units))


def point_record(config: ArrayConfig) -> Record:
    """The fields of a line of the point memory: the select of each term."""
    return Record.unsigned(config.fmt.row_fields)


def section_kinds(config: ArrayConfig) -> tuple[Section, ...]:
    """Sections that a build takes: a log PE has no point memory, and most builds have no tables."""
    kinds = [Section.FEATURE, Section.WEIGHT, Section.CHANNEL, Section.PROGRAM]
    kinds += [Section.POINTS] * (config.pe == "subset") + [Section.TABLES] * (config.tables > 0)
    return tuple(kinds)


@cache
def line_bits(config: ArrayConfig, section: Section) -> int:
    """Bits of a line of the memory that a section fills."""
    return {
        Section.FEATURE: config.feature_bits,
        Section.WEIGHT: config.load_columns * config.rows * config.fmt.code_bits,
        Section.CHANNEL: config.requant_units * Channel.record(config).width,
        Section.PROGRAM: OPCODE_BITS + max(kind.record(config).width for kind in instructions(config).values()),
        Section.POINTS: point_record(config).width,
        Section.TABLES: config.act_bits,
    }[section]


def line_count(config: ArrayConfig, section: Section) -> int:
    """Lines of the memory that a section fills. Points of a set are neighbours, and so are a table's entries."""
    return {
        Section.FEATURE: config.feature_depth,
        Section.WEIGHT: config.weight_depth,
        Section.CHANNEL: config.channel_depth,
        Section.PROGRAM: config.program_depth,
        Section.POINTS: config.sets * config.fmt.point_count,
        Section.TABLES: config.table_lines,
    }[section]


def line_beats(config: ArrayConfig, section: Section) -> int:
    """Stream beats of a line; the low bits come first and the last beat is padded with zeros."""
    return -(-line_bits(config, section) // STREAM_BITS)
