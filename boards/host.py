"""The host's side of the line: loads images, runs inferences, reads registers."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from twofold.boards.protocol import REPLY_BYTES, Code, frame_bytes, read_bytes, write_bytes
from twofold.golden.registers import EVERY_REGISTER


class Line(Protocol):
    """Bytes to and from a board."""

    def write(self, data: bytes) -> None:
        """Send bytes."""

    def read(self, count: int) -> bytes:
        """Receive exactly so many bytes.

        Raises
        ------
        TimeoutError
            If they do not come.
        """

    def close(self) -> None:
        """Give it back."""


class SerialPort:
    """A serial port of this computer, 8N1.

    Parameters
    ----------
    path
        As /dev/ttyUSB0 or COM3, or a URL that pyserial knows.
    baud
        Bits a second.
    timeout
        Seconds after which a read fails.

    Raises
    ------
    OSError, ValueError
        If there is no such port, or it cannot run at that rate.
    """

    def __init__(self, path: Path | str, baud: int, *, timeout: float = 5.0):
        # Only who has a board needs it.
        import serial

        self.port = serial.serial_for_url(str(path), baud, timeout=timeout)
        self.port.reset_input_buffer()
        self.port.reset_output_buffer()

    def write(self, data: bytes) -> None:
        """Send bytes."""
        self.port.write(data)

    def read(self, count: int) -> bytes:
        """Receive exactly so many bytes."""
        found: bytes = self.port.read(count)
        if len(found) < count:
            raise TimeoutError(f"Board must answer, not be silent after {len(found)} of {count} bytes")
        return found

    def close(self) -> None:
        """Give the port back."""
        self.port.close()


class Board:
    """A machine at the other end of a line.

    Parameters
    ----------
    line
        To it.
    """

    def __init__(self, line: Line):
        self.line = line
        self._beats: list[int] = []
        self._frames: list[tuple[int, ...]] = []

    def send(self, beats: Sequence[int]) -> None:
        """Send a frame into the machine's input stream, and wait until it is taken."""
        self.line.write(frame_bytes(beats))
        self._reply(Code.FRAME)

    def read(self, register: str) -> int:
        """A register's value (`golden.registers.EVERY_REGISTER`).

        Raises
        ------
        ValueError
            If the machine does not let it be read.
        """
        self.line.write(read_bytes(EVERY_REGISTER[register].address))
        data = self._reply(Code.READ)
        if data[0]:
            raise ValueError(f"Register must be one that can be read, not {register!r}")
        return int.from_bytes(data[1:], "little")

    def write(self, register: str, value: int) -> None:
        """Set a register.

        Raises
        ------
        ValueError
            If the machine does not let it be written.
        """
        self.line.write(write_bytes(EVERY_REGISTER[register].address, value))
        if self._reply(Code.WRITE)[0]:
            raise ValueError(f"Register must be one that can be written, not {register!r}")

    def receive(self, count: int) -> tuple[int, ...]:
        """Wait for an output frame; one says itself where it ends, whatever the count."""
        while not self._frames:
            self._receive()
        return self._frames.pop(0)

    def close(self) -> None:
        """Close the line."""
        self.line.close()

    def _reply(self, code: Code) -> bytes:
        while (reply := self._receive())[0] != code:
            if reply[0] not in (Code.BEAT, Code.LAST):
                raise RuntimeError(f"Board must answer {code.name}, not {reply[0].name}")
        return reply[1]

    def _receive(self) -> tuple[Code, bytes]:
        code = Code(self.line.read(1)[0])
        data = self.line.read(REPLY_BYTES[code]) if REPLY_BYTES[code] else b""
        if code in (Code.BEAT, Code.LAST):
            self._beats.append(int.from_bytes(data, "little"))
            if code is Code.LAST:
                self._frames.append(tuple(self._beats))
                self._beats = []
        return code, data
