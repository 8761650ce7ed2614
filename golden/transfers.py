"""What moves between the chip's memories and the one outside: the transfer list of builds with external memory.

While a program runs, the machine works through a list of transfers, in order. Each waits until so many DRAINs of the
program are done (`after`), so that what it overwrites is no longer needed and what it stores is there; SYNC in the
program waits until so many transfers are done. All addresses outside are in beats of the bus, relative to register
MEMORY.
"""

from dataclasses import asdict, dataclass
from functools import cache

from twofold.golden.config import ArrayConfig, bits_for
from twofold.golden.fields import Field, Record
from twofold.golden.isa import SECTION_HEADER, TRANSFER_COUNT_BITS, Section, line_bits

#: Bits of an address in bytes of the memory outside.
ADDRESS_BITS = 32
#: An AXI4 burst has at most so many beats and never crosses a boundary of so many bytes.
BURST_BEATS, BURST_BYTES = 256, 4096
#: Cycles from a burst's address to its first beat, of the memory that predictions are made for.
REFERENCE_LATENCY = 32
#: Bursts of a direction that may be without an answer.
OUTSTANDING = 63


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """`rows` times `length` lines between a memory of the chip and the one outside.

    Parameters
    ----------
    kind
        The chip's memory; `Section.END` ends the list, and the rest means nothing.
    store
        From the chip to the outside (FEATURE only); else the other way.
    after
        DRAINs of this inference that must be done before.
    memory, memory_step
        First beat outside, and beats from one row to the next; in a row lines follow each other.
    line, line_step
        First line of the chip's memory, and lines from one row to the next.
    rows, length
        Rows, and lines of each; at least 1.
    """

    kind: Section
    store: int = 0
    after: int = 0
    memory: int = 0
    memory_step: int = 0
    line: int = 0
    line_step: int = 0
    rows: int = 1
    length: int = 1

    @staticmethod
    @cache
    def record(config: ArrayConfig) -> Record:
        """The fields of an entry of the list, the first in the lowest bits; `rows` and `length` less one."""
        beats = bits_for((1 << ADDRESS_BITS) // (config.bus_bits // 8))
        line = SECTION_HEADER["count"].width
        return Record(
            {
                "kind": Field(3),
                "store": Field(1),
                "after": Field(TRANSFER_COUNT_BITS),
                "memory": Field(beats),
                "memory_step": Field(beats),
                "line": Field(line),
                "line_step": Field(line),
                "rows": Field(12),
                "length": Field(20),
            }
        )

    def encode(self, config: ArrayConfig) -> int:
        """Its bits in the list.

        Raises
        ------
        ValueError
            If a value does not fit in its field.
        """
        return self.record(config).pack(asdict(self) | {"rows": self.rows - 1, "length": self.length - 1})

    @classmethod
    def decode(cls, config: ArrayConfig, bits: int) -> "Transfer":
        """From its bits in the list.

        Raises
        ------
        ValueError
            If the kind is none.
        """
        values = cls.record(config).unpack(bits)
        kind = Section(values.pop("kind"))
        return cls(kind=kind, **values | {"rows": values["rows"] + 1, "length": values["length"] + 1})

    def beats(self, config: ArrayConfig) -> int:
        """Beats of the bus that it moves."""
        return self.rows * self.length * bus_beats(config, self.kind)


def bus_beats(config: ArrayConfig, kind: Section) -> int:
    """Beats of a line outside: the low bits come first, and above the line's bits the last beat holds anything."""
    return -(-line_bits(config, kind) // config.bus_bits)


def entry_beats(config: ArrayConfig) -> int:
    """Beats of an entry of the list, which begins at beat 0; low bits first."""
    return -(-Transfer.record(config).width // config.bus_bits)
