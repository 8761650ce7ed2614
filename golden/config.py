"""One build of the machine: the numbers of a TOML file in `configs/`, and what follows from them.

Hardware, mapper and simulation derive every width and latency from `ArrayConfig`.
"""

import json
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path

from twofold.golden import catalog
from twofold.golden.formats import WeightFormat
from twofold.support import resources
from twofold.support.digests import digest
from twofold.support.tables import read_toml

PES = ("log", "subset")
#: How a PE picks a shift: multiplexers (smaller in look-up tables) or AND-OR gates (smaller in standard cells).
SELECTS = ("mux", "and_or")
#: Where a build keeps what does not fit on the chip: nowhere, or in a memory behind an AXI4 master.
MEMORIES = ("on_chip", "axi4")
#: Bits of a beat of the AXI4 master.
BUS_BITS = (32, 64, 128)
#: Version of the machine: register map, image format and pass program. A new number for any change.
MACHINE_VERSION = 3
#: Neighbouring kernel positions that a chain pass computes at once.
CHAIN = 3
_KINDS: dict[object, str] = {str: "a string", int: "an integer", bool: "true or false"}
#: Most bits of each memory of a build file; more would take minutes and gigabytes to emit.
MOST_BITS = 1 << 26


def bits_for(count: int) -> int:
    """Width (bits) of an unsigned number that takes `count` values; at least 1."""
    return max(1, (count - 1).bit_length())


@dataclass(frozen=True, kw_only=True)
class ArrayConfig:
    """A build. Field names are the keys of the TOML file.

    Parameters
    ----------
    name
        Name of the build; the Verilog top is called ``twofold_<name>``.
    pe
        ``log`` or ``subset``.
    rows, cols
        Input lanes (Tn) and output lanes (Tm) of the array; one divides the other, powers of two.
    word_bits
        Bits of a weight word, sign included.
    universal_set
        Option of [SubsetQ] table 1 (subset PE only).
    menus
        Instead of an option, the left shifts of the two terms: ``"4 3 1 off + 4 2 0 off"`` is option 5 (subset PE
        only).
    asymmetric
        The log word of [STLQ] with one more negative level (log PE only).
    act_bits
        Bits of an activation in feature memory; 2 to 8.
    acc_width
        Bits of an accumulator.
    acc_depth
        Positions in each of the two accumulator banks.
    max_pass_shift
        Largest left shift of a pass (bits).
    feature_depth, weight_depth, channel_depth, program_depth
        Lines of the four memories: a feature line is `rows` activations of one position, a weight line
        `load_columns` columns of a tile, a channel line the requantisation of `requant_units` output channels.
    point_sets
        Resident point sets (subset PE only).
    max_side
        Largest height or width of a feature map, padding included.
    digits, digit_span
        Most signed digits (T) of a requantisation multiplier, and the largest shift of one.
    requant_units
        Output channels requantised in a cycle; divides rows and cols.
    load_columns
        Columns of a tile loaded in a cycle, from one weight line; divides cols.
    tree_step
        Adder-tree levels between two registers.
    tables
        Resident tables of pointwise functions; with 0 the requantiser has no memory for them.
    table_bits
        Bits of the value that a table is asked with.
    narrow_reads
        Passes may read a part of an activation's bits (`golden.narrow`).
    select
        ``mux`` or ``and_or``: gates that a PE picks its shifts with; the same products either way.
    memory
        ``on_chip``, or ``axi4``: programs, weights, channels and features come from a memory outside while a program
        runs, and features go there (`golden.transfers`).
    bus_bits
        Bits of a beat to and from that memory (builds with one only).

    Raises
    ------
    TypeError, ValueError
        On a value of the wrong type or out of range, naming the key, the rule and the value.
    """

    name: str
    pe: str
    rows: int
    cols: int
    word_bits: int
    universal_set: int = 5
    menus: str = ""
    asymmetric: bool = False
    act_bits: int = 8
    acc_width: int = 28
    acc_depth: int = 64
    max_pass_shift: int = 15
    feature_depth: int = 1024
    weight_depth: int = 2048
    channel_depth: int = 256
    program_depth: int = 1024
    point_sets: int = 4
    max_side: int = 256
    digits: int = 3
    digit_span: int = 12
    requant_units: int = 1
    load_columns: int = 1
    tree_step: int = 2
    tables: int = 0
    table_bits: int = 8
    narrow_reads: bool = False
    select: str = "mux"
    memory: str = "on_chip"
    bus_bits: int = 64

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if type(value) is not field.type:
                raise TypeError(f"{field.name} must be {_KINDS[field.type]}, not {value!r}")
        if not self.name.isidentifier():
            raise ValueError(f"name must be letters, digits and underscores, not {self.name!r}")
        if self.pe not in PES:
            raise ValueError(f"pe must be one of {PES}, not {self.pe!r}")
        if self.select not in SELECTS:
            raise ValueError(f"select must be one of {SELECTS}, not {self.select!r}")
        if self.memory not in MEMORIES:
            raise ValueError(f"memory must be one of {MEMORIES}, not {self.memory!r}")
        if self.bus_bits not in BUS_BITS:
            raise ValueError(f"bus_bits must be one of {BUS_BITS}, not {self.bus_bits!r}")
        for key, low, high in _RANGES:
            value = getattr(self, key)
            if not low <= value <= high:
                raise ValueError(f"{key} must be {low} to {high}, not {value!r}")
        for key in ("rows", "cols", "requant_units"):
            value = getattr(self, key)
            if value & (value - 1):
                raise ValueError(f"{key} must be a power of two, not {value!r}")
        if self.external and self.program_depth & (self.program_depth - 1):
            # Its program memory is a ring.
            raise ValueError(f"program_depth must be a power of two where memory is 'axi4', not {self.program_depth!r}")
        if self.requant_units > min(self.rows, self.cols):
            raise ValueError(
                f"requant_units must be at most {min(self.rows, self.cols)} (the smaller of rows and cols), "
                f"not {self.requant_units!r}"
            )
        if self.cols % self.load_columns:
            raise ValueError(f"load_columns must divide {self.cols} (cols), not {self.load_columns!r}")
        if self.word_bits > 4 and self.pe == "subset":
            raise ValueError(f"word_bits must be 2 to 4 for the subset PE, not {self.word_bits!r}")
        if self.universal_set not in catalog.SUBSET_MENUS:
            raise ValueError(f"universal_set must be one of {tuple(catalog.SUBSET_MENUS)}, not {self.universal_set!r}")
        if self.menus:
            try:
                levels = catalog.subset_format(2, menus=self.menus).universal_set
            except ValueError as error:
                raise ValueError(f"menus: {error}") from error
            if not {0, 1} <= set(levels):
                raise ValueError(f"menus must give the levels 0 and 1, not {levels!r}")
        if self.acc_width < self.sum_bits:
            raise ValueError(f"acc_width must be at least {self.sum_bits} (one column sum), not {self.acc_width!r}")

    @cached_property
    def fmt(self) -> WeightFormat:
        """The weight format that the PE is wired for."""
        if self.pe == "log":
            return catalog.log_format(self.word_bits, asymmetric=self.asymmetric)
        return catalog.subset_format(self.word_bits, self.universal_set, menus=self.menus)

    @property
    def external(self) -> bool:
        """Whether the build has a memory outside the chip."""
        return self.memory != "on_chip"

    @property
    def sets(self) -> int:
        """Point sets that the machine holds."""
        return self.point_sets if self.pe == "subset" else 1

    @property
    def value_bits(self) -> int:
        """Width (bits) of what requantisation gives: an activation, or what a table is asked with."""
        return max(self.act_bits, self.table_bits) if self.tables else self.act_bits

    @property
    def table_lines(self) -> int:
        """Entries of all tables."""
        return self.tables << self.table_bits

    @property
    def clip_bits(self) -> int:
        """Width (bits) of a signed number that holds signed and unsigned values of requantisation."""
        return self.value_bits + 1

    @property
    def operand_max(self) -> int:
        """Largest operand of the array; an operand is an unsigned number of `act_bits` bits."""
        return (1 << self.act_bits) - 1

    @property
    def operand_offset(self) -> int:
        """What a signed activation is raised by to become an operand; its inverted top bit does it."""
        return 1 << (self.act_bits - 1)

    @property
    def term_spans(self) -> tuple[tuple[int, int], ...]:
        """Bits that each term of a product occupies: the first, and the one after the last."""
        spans = []
        for menu in self.fmt.menus:
            shifts = [shift for shift in menu if shift is not None]
            spans.append((min(shifts), max(shifts) + self.act_bits) if shifts else (0, 0))
        return tuple(spans)

    @cached_property
    def product_max(self) -> int:
        """Largest product, which is that of a zero word: every term gives all ones less what it selects."""
        return sum((1 << end) - (1 << begin) for begin, end in self.term_spans)

    @property
    def product_bits(self) -> int:
        """Width (bits) of a product, which is unsigned."""
        return self.product_max.bit_length()

    @property
    def sum_bits(self) -> int:
        """Width (bits) of a column's sum over the rows, which is unsigned."""
        return (self.rows * self.product_max).bit_length()

    def product_base(self, level: int, negative: int | bool) -> int:
        """What a PE adds to ``weight * operand``: it depends on the word alone, so the compiler takes it off the bias.

        A PE gives ``product_max - level * operand`` for a negative word, and for a positive one the same with the
        operand's one's complement, ``operand_max - operand``.
        """
        return self.product_max - (0 if negative else level * self.operand_max)

    def delay(self, row: int, col: int) -> int:
        """Positions by which a PE's operand is late in a chain pass: 0 to 2.

        It is then the operand of as many rows further up (modulo `rows`). A column's lanes that are not late have the
        column's number, modulo the smaller of rows and cols.
        """
        late = (row - col) % min(self.rows, self.cols)
        return late if late < CHAIN else 0

    @property
    def load_groups(self) -> int:
        """Weight lines of a whole tile."""
        return self.cols // self.load_columns

    @property
    def tree_stages(self) -> int:
        """Registers from operands to column sum."""
        return -(-(self.rows - 1).bit_length() // self.tree_step)

    @property
    def coord_bits(self) -> int:
        """Width (bits) of a signed coordinate of the input window."""
        return bits_for(self.max_side) + 2

    @property
    def scaled_bits(self) -> int:
        """Width (bits) of accumulator times requantisation multiplier."""
        return self.acc_width + self.digit_span + 2

    @property
    def skip_reach(self) -> int:
        """What the left shift of a skip, its own and its channel's right shift together, is taken modulo of."""
        return 1 << bits_for(self.scaled_bits)

    @property
    def feature_bits(self) -> int:
        """Bits of a feature line."""
        return self.rows * self.act_bits

    @property
    def build_hash(self) -> int:
        """32 bits that name the build: an image made for another build is refused."""
        return self.hash_in(MACHINE_VERSION)

    def hash_in(self, version: int) -> int:
        """The build's hash in a version of the machine."""
        without: dict[str, object] = {"menus": "", "load_columns": 1, "narrow_reads": False}
        if not self.tables:
            without |= {"tables": self.tables, "table_bits": self.table_bits}
        if not self.external:
            without |= {"memory": self.memory, "bus_bits": self.bus_bits}
        values = asdict(self).items()
        facts = {key: v for key, v in values if key not in ("name", "select") and without.get(key) != v}
        text = json.dumps([version, facts], sort_keys=True)
        return int(digest(text.encode())[:8], 16)

    # Latencies (cycles). `docs/machine.md` derives them stage by stage; simulation checks every one.

    @property
    def fetch_cycles(self) -> int:
        """Fewest cycles from the fetch of an instruction until it is offered to its unit."""
        return 2

    @property
    def load_latency(self) -> int:
        """Cycles from the read of a tile's last column until the tile is complete."""
        return 2

    @property
    def min_pass(self) -> int:
        """Fewest cycles from the start of a pass to the start of the next: the accumulator's read-modify-write."""
        return 4

    @property
    def array_latency(self) -> int:
        """Cycles from the issue of a position until its sum can be read from the accumulator memory."""
        return 6 + self.tree_stages

    @property
    def requant_latency(self) -> int:
        """Cycles from the read of an accumulator until its activation can be read from feature memory."""
        return 8 + self.digits + (1 if self.tables else 0)


_RANGES = (
    ("rows", 2, 64),
    ("cols", 2, 64),
    ("word_bits", 2, 5),
    ("act_bits", 2, 8),
    ("acc_width", 8, 48),
    ("acc_depth", 4, 65536),
    ("max_pass_shift", 0, 31),
    ("feature_depth", 4, 1 << 24),
    ("weight_depth", 4, 1 << 24),
    ("channel_depth", 4, 1 << 24),
    ("program_depth", 4, 1 << 24),
    ("point_sets", 1, 256),
    ("max_side", 2, 4096),
    ("digits", 1, 8),
    ("digit_span", 0, 31),
    ("requant_units", 1, 64),
    ("load_columns", 1, 64),
    ("tree_step", 1, 8),
    ("tables", 0, 64),
    ("table_bits", 2, 10),
)


def load_config(path: Path | str) -> ArrayConfig:
    """Build from a TOML file, or by the name of one in `configs/`.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError, TypeError
        If it is not TOML, a key is unknown or missing, or a value is impossible; the message begins with the path.
    """
    path = resources.find("configs", path)
    table = read_toml(path)
    known = [field.name for field in fields(ArrayConfig)]
    for key in table:
        if key not in known:
            raise ValueError(f"{path}: key must be one of {tuple(known)}, not {key!r}")
    for key in ("name", "pe", "rows", "cols", "word_bits"):
        if key not in table:
            raise ValueError(f"{path}: key {key!r} must be given, not left out")
    try:
        config = ArrayConfig(**table)
        _check_size(config)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{path}: {error}") from error
    return config


def _check_size(config: ArrayConfig) -> None:
    widths = {
        "acc_depth": 2 * config.cols * config.acc_width,
        "feature_depth": config.feature_bits,
        "weight_depth": config.load_columns * config.rows * config.fmt.code_bits,
        # About: the formats of these lines are built on this module.
        "channel_depth": config.requant_units * 2 * config.acc_width,
        "program_depth": 128,
    }
    for key, width in widths.items():
        depth, most = getattr(config, key), MOST_BITS // width
        if depth > most:
            raise ValueError(f"{key} must be at most {most} for lines of this build's width, not {depth!r}")
