"""The host's side of the line: loads images, runs inferences, reads registers. Standard library only."""

import os
import termios
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from twofold.boards.protocol import REPLY_BYTES, Code, frame_bytes, read_bytes, write_bytes
from twofold.golden.registers import REGISTERS


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


class SerialPort:
    """A serial port of this computer, raw, 8N1.

    Parameters
    ----------
    path
        As /dev/ttyUSB0.
    baud
        Bits a second; one that the system's termios knows.
    timeout
        Seconds (to tenths) without a byte after which a read fails.
    """

    def __init__(self, path: Path | str, baud: int, *, timeout: float = 5.0):
        speed = getattr(termios, f"B{baud}", None)
        if speed is None:
            raise ValueError(f"baud must be one that termios knows, not {baud!r}")
        self.file = os.open(path, os.O_RDWR | os.O_NOCTTY)
        settings = termios.tcgetattr(self.file)
        settings[0] = settings[1] = settings[3] = 0
        settings[2] = termios.CS8 | termios.CREAD | termios.CLOCAL
        settings[4] = settings[5] = speed
        settings[6][termios.VMIN] = 0
        settings[6][termios.VTIME] = round(10 * timeout)
        termios.tcsetattr(self.file, termios.TCSANOW, settings)
        termios.tcflush(self.file, termios.TCIOFLUSH)

    def write(self, data: bytes) -> None:
        """Send bytes."""
        while data:
            data = data[os.write(self.file, data) :]

    def read(self, count: int) -> bytes:
        """Receive exactly so many bytes."""
        found = b""
        while len(found) < count:
            part = os.read(self.file, count - len(found))
            if not part:
                raise TimeoutError(f"Board must answer, not be silent after {len(found)} of {count} bytes")
            found += part
        return found

    def close(self) -> None:
        """Give the port back."""
        os.close(self.file)


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
        """A register's value (`golden.registers.REGISTERS`).

        Raises
        ------
        ValueError
            If the machine does not let it be read.
        """
        self.line.write(read_bytes(REGISTERS[register].address))
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
        self.line.write(write_bytes(REGISTERS[register].address, value))
        if self._reply(Code.WRITE)[0]:
            raise ValueError(f"Register must be one that can be written, not {register!r}")

    def infer(self, beats: Sequence[int], *, frames: int = 1) -> tuple[tuple[int, ...], ...]:
        """Send an input frame, start, and wait for the output frames."""
        self.send(beats)
        self.write("CONTROL", 1)
        while len(self._frames) < frames:
            self._receive()
        taken, self._frames = self._frames, []
        return tuple(taken)

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
