"""What the host and the compiler say to the machine: instructions, memory lines, stream frames, registers.

Standard library only: hardware, mapper, image and drivers read the same tables. A table of fields is a
dictionary name -> width (bits), least significant field first, as `WeightFormat.code_fields` is.
"""

from collections.abc import Mapping
from enum import IntEnum

from twofold.golden.config import ArrayConfig, bits_for


class Opcode(IntEnum):
    """The low bits of a program line. Zero is illegal, so that empty memory stops the machine."""

    ILLEGAL = 0
    WINDOW = 1  # geometry of the passes and drains that follow
    PASS = 2  # one tile of words past one chunk of positions
    DRAIN = 3  # requantise the accumulators of the chunk, change banks
    OUTPUT = 4  # send feature lines to the host
    END = 5  # the inference is complete


OPCODE_BITS = 3


class Section(IntEnum):
    """What a section of a stream frame carries."""

    END = 0
    FEATURE = 1
    WEIGHT = 2
    CHANNEL = 3
    PROGRAM = 4
    POINTS = 5


class Error(IntEnum):
    """Codes of the status register's error field."""

    NONE = 0
    MAGIC = 1  # the first beat is not FRAME_MAGIC
    BUILD = 2  # the frame was made for another build
    SECTION = 3  # unknown section kind
    RANGE = 4  # a section ends beyond its memory
    TRUNCATED = 5  # the frame ended too early
    TRAILING = 6  # the frame went on after its end section
    CHECKSUM = 7  # the sum of the beats differs
    NOT_LOADED = 8  # start without a valid program
    INSTRUCTION = 9  # illegal opcode, or the program ran off its memory
    BUSY = 10  # start while running


#: First beat of every frame into the machine: "2FLD", little-endian.
FRAME_MAGIC = 0x444C4632
#: Bits of a beat of both streams.
STREAM_BITS = 32
#: A section header is two beats: kind in the top byte and number of lines below it; then the first line's address.
SECTION_FIELDS = {"count": 24, "kind": 8}

#: Byte addresses of the AXI4-Lite registers, with access and meaning. 32 bits each.
REGISTERS: dict[str, tuple[int, str, str]] = {
    "ID": (0x00, "read", "constant 0x32464C44"),
    "VERSION": (0x04, "read", "version of register map, image format and pass program"),
    "BUILD": (0x08, "read", "hash of the build's parameters; a frame must carry the same"),
    "SHAPE": (0x0C, "read", "rows in bits 15 to 0, cols in bits 31 to 16"),
    "CONTROL": (0x10, "write", "bit 0 starts an inference, bit 1 clears the error"),
    "STATUS": (0x14, "read", "bit 0 busy, bit 1 done, bit 2 loaded, bits 15 to 8 error code"),
    "CYCLES": (0x18, "read", "cycles of the last inference, from start to END, waiting for the output stream left out"),
    "PASSES": (0x1C, "read", "passes of the last inference"),
    "MODE": (0x20, "read and write", "bit 0: a frame that ends well and holds an input only starts an inference"),
}
ID_VALUE = 0x32464C44
STATUS_FIELDS = {"busy": 1, "done": 1, "loaded": 1, "reserved": 5, "error": 8}


def window_fields(config: ArrayConfig) -> dict[str, int]:
    """Operands of WINDOW: the chunk's rectangle of positions and the input map they look into."""
    return {
        "width": bits_for(config.max_side + 1),  # positions in a row of the chunk
        "height": bits_for(config.max_side + 1),  # rows of the chunk
        "in_width": bits_for(config.max_side + 1),  # input columns (in-bounds: 0 <= x < in_width)
        "in_height": bits_for(config.max_side + 1),
        "step_x": 4,  # stride
        "step_y": 4,
        "row_step": bits_for(config.feature_depth),  # feature lines from one row of windows to the next
    }


def pass_fields(config: ArrayConfig) -> dict[str, int]:
    """Operands of PASS."""
    return {
        "address": bits_for(
            config.feature_depth
        ),  # feature line of the first position's tap, modulo the depth's power of two
        "x": config.coord_bits,  # signed input coordinates of the same
        "y": config.coord_bits,
        "weights": bits_for(config.weight_depth),  # line of the tile's first column
        "columns": bits_for(config.cols),  # columns to load, minus one
        "set": bits_for(config.sets),  # point set of the tile
        "shift": bits_for(config.max_pass_shift + 1),
        "signed": 1,  # activations are two's complement
        "first": 1,  # accumulators start afresh: from 0, with `maximum` from the least number
        "maximum": 1,  # maximum instead of sum; out-of-bounds windows change nothing
        "wait": 1,  # start only when the requantiser is idle
        "row_mask": config.rows,  # lanes not set supply zero
        "col_mask": config.cols,  # columns not set keep their accumulators
    }


def drain_fields(config: ArrayConfig) -> dict[str, int]:
    """Operands of DRAIN. The chunk is the last WINDOW's rectangle."""
    return {
        "address": bits_for(config.feature_depth),  # feature line of the first position, first column
        "row_step": bits_for(config.feature_depth),  # lines from the last position of a row to the next row's first
        "plane": bits_for(config.feature_depth),  # lines from a group of `rows` channels to the next
        "lane": bits_for(config.rows),  # lane of the first column
        "groups": bits_for(config.cols // config.requant_units),  # groups of requant_units columns, minus one
        "channels": bits_for(config.channel_depth),  # channel line of the first group
        "low": config.clip_bits,  # signed clip bounds
        "high": config.clip_bits,
    }


def output_fields(config: ArrayConfig) -> dict[str, int]:
    """Operands of OUTPUT."""
    return {
        "address": bits_for(config.feature_depth),
        "count": bits_for(config.feature_depth),  # lines, minus one
    }


def operand_fields(config: ArrayConfig, opcode: Opcode) -> dict[str, int]:
    """Operands of an instruction, above the opcode."""
    tables = {
        Opcode.WINDOW: window_fields,
        Opcode.PASS: pass_fields,
        Opcode.DRAIN: drain_fields,
        Opcode.OUTPUT: output_fields,
    }
    return tables[opcode](config) if opcode in tables else {}


#: Fields that are two's complement.
SIGNED_FIELDS = frozenset({"x", "y", "low", "high", "bias"})


def channel_fields(config: ArrayConfig) -> dict[str, int]:
    """Requantisation of one output channel: ``rne((acc + bias) * sum(+-2**shift[n]) * 2**-right)``.

    A channel line is `requant_units` of these, the lowest channel in the low bits.
    """
    fields = {"bias": config.acc_width}
    for n in range(config.digits):
        fields |= {f"shift{n}": bits_for(config.digit_span + 1), f"minus{n}": 1, f"on{n}": 1}
    return fields | {"right": bits_for(config.scaled_bits + 1)}


def line_bits(config: ArrayConfig, section: Section) -> int:
    """Bits of a line of the memory that a section fills."""
    return {
        Section.FEATURE: config.feature_bits,
        Section.WEIGHT: config.rows * config.fmt.code_bits,
        Section.CHANNEL: config.requant_units * sum(channel_fields(config).values()),
        Section.PROGRAM: OPCODE_BITS + max(sum(operand_fields(config, opcode).values()) for opcode in Opcode),
        Section.POINTS: sum(config.fmt.row_fields.values()),
    }[section]


def line_count(config: ArrayConfig, section: Section) -> int:
    """Lines of the memory that a section fills. A point is a line: set times points, plus index."""
    return {
        Section.FEATURE: config.feature_depth,
        Section.WEIGHT: config.weight_depth,
        Section.CHANNEL: config.channel_depth,
        Section.PROGRAM: config.program_depth,
        Section.POINTS: config.sets * config.fmt.point_count,
    }[section]


def line_beats(config: ArrayConfig, section: Section) -> int:
    """Stream beats of a line; the low bits come first and the last beat is padded with zeros."""
    return -(-line_bits(config, section) // STREAM_BITS)


def pack(fields: Mapping[str, int], values: Mapping[str, int]) -> int:
    """Integer whose bits are the fields' values; negative values are two's complement.

    Raises
    ------
    ValueError
        If a value does not fit in its field, or the names differ.
    """
    if set(values) != set(fields):
        raise ValueError(f"Fields must be {tuple(fields)}, not {tuple(values)}")
    word, position = 0, 0
    for name, width in fields.items():
        value = values[name]
        low = -(1 << (width - 1)) if name in SIGNED_FIELDS else 0
        high = (1 << (width - 1)) if name in SIGNED_FIELDS else 1 << width
        if not low <= value < high:
            raise ValueError(f"{name} must be {low} to {high - 1}, not {value!r}")
        word |= (value & ((1 << width) - 1)) << position
        position += width
    return word


def unpack(fields: Mapping[str, int], word: int) -> dict[str, int]:
    """The fields' values of an integer; the reverse of `pack`."""
    values, position = {}, 0
    for name, width in fields.items():
        value = (word >> position) & ((1 << width) - 1)
        if name in SIGNED_FIELDS and value >> (width - 1):
            value -= 1 << width
        values[name] = value
        position += width
    return values


def encode(config: ArrayConfig, opcode: Opcode, **operands: int) -> int:
    """Program line of an instruction."""
    return pack(operand_fields(config, opcode), operands) << OPCODE_BITS | opcode


def decode(config: ArrayConfig, line: int) -> tuple[Opcode, dict[str, int]]:
    """Instruction of a program line.

    Raises
    ------
    ValueError
        If the opcode is illegal.
    """
    number = line & ((1 << OPCODE_BITS) - 1)
    if number not in set(Opcode) or number == Opcode.ILLEGAL:
        raise ValueError(f"Opcode must be {Opcode.WINDOW.value} to {Opcode.END.value}, not {number!r}")
    opcode = Opcode(number)
    return opcode, unpack(operand_fields(config, opcode), line >> OPCODE_BITS)
