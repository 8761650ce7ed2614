"""What a host and a board say to each other over a serial line; standard library only.

The host sends a command and waits for its reply before the next: the line has no flow control. A beat or a register is
four bytes, low byte first. Replies and output beats never interleave, and each begins with a byte that says what it is.

From the host: 0x00, nothing. 0x01, number of beats (4 bytes) and the beats: a frame for the input stream, TLAST on the
last beat; reply 0x01 once the machine has taken it. 0x02, address: read a register; reply 0x02, AXI response, value.
0x03, address, value: write one; reply 0x03, AXI response. Other bytes are ignored where a command is expected.

From the board, unasked: 0x04, beat: a beat of an output frame. 0x05, beat: the last one of it.
"""

from collections.abc import Sequence
from enum import IntEnum


class Code(IntEnum):
    """First byte of a command or a reply."""

    NOTHING = 0x00
    FRAME = 0x01
    READ = 0x02
    WRITE = 0x03
    BEAT = 0x04
    LAST = 0x05


def frame_bytes(beats: Sequence[int]) -> bytes:
    """Command that sends a frame."""
    return b"".join(
        [bytes([Code.FRAME]), len(beats).to_bytes(4, "little"), *(beat.to_bytes(4, "little") for beat in beats)]
    )


def read_bytes(address: int) -> bytes:
    """Command that reads a register."""
    return bytes([Code.READ, address])


def write_bytes(address: int, value: int) -> bytes:
    """Command that writes a register."""
    return bytes([Code.WRITE, address]) + value.to_bytes(4, "little")


#: Bytes that follow a reply's first.
REPLY_BYTES = {Code.FRAME: 0, Code.READ: 5, Code.WRITE: 1, Code.BEAT: 4, Code.LAST: 4}
