"""The machine's registers as a host sees them. Standard library only: hardware, drivers and listings read them here."""

from dataclasses import dataclass
from enum import IntEnum

from twofold.golden.config import ArrayConfig
from twofold.golden.fields import Record


class Error(IntEnum):
    """Codes of the status register's error field."""

    NONE = 0
    MAGIC = 1
    BUILD = 2
    SECTION = 3
    RANGE = 4
    TRUNCATED = 5
    TRAILING = 6
    CHECKSUM = 7
    NOT_LOADED = 8
    INSTRUCTION = 9
    BUSY = 10
    BUS = 11

    @property
    def meaning(self) -> str:
        """When the machine reports it, for a reader."""
        return _MEANINGS[self]


_MEANINGS = {
    Error.NONE: "no error",
    Error.MAGIC: "the first beat is not FRAME_MAGIC",
    Error.BUILD: "the frame was made for another build",
    Error.SECTION: "unknown section kind, or an END section with lines",
    Error.RANGE: "a section ends beyond its memory",
    Error.TRUNCATED: "TLAST before the frame's end",
    Error.TRAILING: "no TLAST at the frame's end",
    Error.CHECKSUM: "the CRC-32 of the beats differs",
    Error.NOT_LOADED: "start without a program",
    Error.INSTRUCTION: "illegal opcode, or the program ran off its memory",
    Error.BUSY: "start while an inference runs or within a frame",
    Error.BUS: "the memory outside answered an error (builds with one)",
}


@dataclass(frozen=True)
class Register:
    """One AXI4-Lite register of 32 bits.

    Parameters
    ----------
    address
        In bytes.
    access
        ``read``, ``write`` or ``read and write``; anything else answers SLVERR.
    meaning
        For a reader.
    """

    address: int
    access: str
    meaning: str

    @property
    def readable(self) -> bool:
        """Whether a read answers with a value."""
        return "read" in self.access

    @property
    def writable(self) -> bool:
        """Whether a write is taken."""
        return "write" in self.access


REGISTERS: dict[str, Register] = {
    "ID": Register(0x00, "read", "constant 0x32464C44"),
    "VERSION": Register(0x04, "read", "version of register map, image format and pass program"),
    "BUILD": Register(0x08, "read", "hash of the build's parameters; a frame must carry the same"),
    "SHAPE": Register(0x0C, "read", "rows in bits 15 to 0, cols in bits 31 to 16"),
    "CONTROL": Register(0x10, "write", "bit 0 starts an inference, bit 1 clears the error"),
    "STATUS": Register(0x14, "read", "bit 0 busy, bit 1 done, bit 2 loaded, bits 15 to 8 error code"),
    "CYCLES": Register(
        0x18, "read", "cycles of the last inference, from start to END, waiting for the output stream left out"
    ),
    "PASSES": Register(0x1C, "read", "passes of the last inference"),
    "MODE": Register(
        0x20,
        "read and write",
        "bit 0: a frame that ends well and holds an input only starts an inference",
    ),
}
#: Those that builds with a memory outside the chip have on top.
OUTSIDE_REGISTERS: dict[str, Register] = {
    "MEMORY": Register(0x24, "read and write", "address of the memory outside (bytes), of which the low 12 bits are 0"),
    "STALLS": Register(0x28, "read", "cycles of the last inference in which the array waited for the memory outside"),
}
#: Those of any build; a machine answers SLVERR for one that it does not have.
EVERY_REGISTER = REGISTERS | OUTSIDE_REGISTERS
ID_VALUE = 0x32464C44
STATUS = Record.unsigned({"busy": 1, "done": 1, "loaded": 1, "reserved": 5, "error": 8})
SHAPE = Record.unsigned({"rows": 16, "cols": 16})
CONTROL = Record.unsigned({"start": 1, "clear": 1})
MODE = Record.unsigned({"automatic": 1})
MEMORY = Record.unsigned({"reserved": 12, "page": 20})
#: The fields of registers that are more than one number.
FIELDS = {"SHAPE": SHAPE, "CONTROL": CONTROL, "STATUS": STATUS, "MODE": MODE}
OUTSIDE_FIELDS = {"MEMORY": MEMORY}


def registers(config: ArrayConfig) -> dict[str, Register]:
    """The registers of a build."""
    return REGISTERS | (OUTSIDE_REGISTERS if config.external else {})


def register_fields(config: ArrayConfig) -> dict[str, Record]:
    """The fields of a build's registers that are more than one number."""
    return FIELDS | (OUTSIDE_FIELDS if config.external else {})


@dataclass(frozen=True)
class Status:
    """What the status register says."""

    busy: bool
    done: bool
    loaded: bool
    error: Error

    @classmethod
    def decode(cls, value: int) -> "Status":
        """From the register's value.

        Raises
        ------
        ValueError
            If the error code is none of `Error`.
        """
        parts = STATUS.unpack(value)
        return cls(bool(parts["busy"]), bool(parts["done"]), bool(parts["loaded"]), Error(parts["error"]))
