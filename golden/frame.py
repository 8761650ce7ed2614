"""Stream frames into the machine: sections of memory lines as 32-bit beats (`docs/machine.md`), both directions."""

import struct
import zlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from twofold.golden.config import ArrayConfig
from twofold.golden.isa import (
    FRAME_MAGIC,
    SECTION_HEADER,
    STREAM_BITS,
    Section,
    line_beats,
    line_bits,
    line_count,
    section_kinds,
)
from twofold.golden.registers import Error

_BEAT = (1 << STREAM_BITS) - 1


class SectionLines(NamedTuple):
    """Consecutive lines of one memory, from line `address` on."""

    kind: Section
    address: int
    lines: tuple[int, ...]


class FrameError(ValueError):
    """A frame that the machine refuses.

    Parameters
    ----------
    code
        What the status register would show.
    message
        What is wrong, for a reader.
    sections
        What the machine has written to its memories before the error; the last section may have fewer lines than its
        header said, or none.
    """

    def __init__(self, code: Error, message: str, sections: Sequence[SectionLines] = ()) -> None:
        super().__init__(message)
        self.code = code
        self.sections = tuple(sections)


def split(value: int, beats: int) -> list[int]:
    """A line as `beats` beats, low bits first."""
    return [(value >> (STREAM_BITS * n)) & _BEAT for n in range(beats)]


def join(beats: Iterable[int]) -> int:
    """The line that the beats carry; the reverse of `split`."""
    return sum(beat << (STREAM_BITS * n) for n, beat in enumerate(beats))


def checksum(beats: Sequence[int]) -> int:
    """CRC-32 (as Ethernet's, zlib's and PNG's) of the beats' bytes in stream order, the low byte of a beat first."""
    return zlib.crc32(struct.pack(f"<{len(beats)}I", *beats))


def frame(config: ArrayConfig, sections: Iterable[tuple[Section, int, Sequence[int]]]) -> list[int]:
    """Beats of a frame.

    Parameters
    ----------
    config
        The build that the frame is for.
    sections
        (kind, address of the first line, lines); a section without lines is left out.

    Raises
    ------
    ValueError
        If a section is not one of the build's, ends beyond its memory, or a line has too many bits.
    """
    beats = [FRAME_MAGIC, config.build_hash]
    for kind, address, lines in sections:
        if kind not in section_kinds(config):
            names = tuple(known.name for known in section_kinds(config))
            raise ValueError(f"Section must be one of {names}, not {Section(kind).name!r}")
        if address < 0 or address + len(lines) > line_count(config, kind):
            raise ValueError(
                f"{kind.name} section must end within {line_count(config, kind)} lines, not at {address + len(lines)!r}"
            )
        if not lines:
            continue
        beats += [SECTION_HEADER.pack({"count": len(lines), "kind": kind}), address]
        bits, width = line_bits(config, kind), line_beats(config, kind)
        for line in lines:
            if not 0 <= line < 1 << bits:
                raise ValueError(f"{kind.name} line must have {bits} bits, not {line!r}")
            beats += split(line, width)
    beats.append(SECTION_HEADER.pack({"count": 0, "kind": Section.END}))
    return [*beats, checksum(beats)]


class _Reader:
    """Takes beats in stream order, so that the error found is the first that the machine would find."""

    def __init__(self, beats: Sequence[int]) -> None:
        self.beats = beats
        self.position = 0
        self.sections: list[SectionLines] = []

    def take(self) -> int:
        if self.position == len(self.beats):
            raise self.error(Error.TRUNCATED, f"Frame must end with an END section, not after {self.position} beats")
        self.position += 1
        return self.beats[self.position - 1]

    def error(self, code: Error, message: str) -> FrameError:
        return FrameError(code, message, self.sections)


def parse(config: ArrayConfig, beats: Sequence[int]) -> tuple[SectionLines, ...]:
    """Sections of a frame, as the machine's loader reads them; the reverse of `frame`.

    Raises
    ------
    FrameError
        With the code that the machine would report for the first thing wrong.
    """
    reader = _Reader(beats)
    magic = reader.take()
    if magic != FRAME_MAGIC:
        raise reader.error(Error.MAGIC, f"Frame must begin with {FRAME_MAGIC:#010x}, not {magic:#010x}")
    build = reader.take()
    if build != config.build_hash:
        raise reader.error(Error.BUILD, f"Frame must be made for build {config.build_hash:#010x}, not {build:#010x}")
    while True:
        header = SECTION_HEADER.unpack(reader.take())
        if header["kind"] == Section.END and not header["count"]:
            break
        if header["kind"] not in section_kinds(config):
            raise reader.error(Error.SECTION, f"Section must be one that the build has, not {header!r}")
        _section(config, reader, Section(header["kind"]), header["count"])
    right = checksum(beats[: reader.position])
    found = reader.take()
    if found != right:
        raise reader.error(Error.CHECKSUM, f"Checksum must be {right:#010x}, not {found:#010x}")
    if reader.position != len(beats):
        raise reader.error(Error.TRAILING, f"Frame must end after {reader.position} beats, not {len(beats)}")
    return tuple(reader.sections)


def _section(config: ArrayConfig, reader: _Reader, kind: Section, count: int) -> None:
    address = reader.take()
    depth = line_count(config, kind)
    if address + count > depth:
        message = f"{kind.name} section must end within {depth} lines, not at {address + count!r}"
        raise reader.error(Error.RANGE, message)
    if reader.position == len(reader.beats):
        raise reader.error(Error.TRUNCATED, f"Frame must end with an END section, not after {reader.position} beats")
    width, mask = line_beats(config, kind), (1 << line_bits(config, kind)) - 1
    lines: list[int] = []
    try:
        for _ in range(count):
            lines.append(join([reader.take() for _ in range(width)]) & mask)
    except FrameError as error:
        raise FrameError(
            error.code, str(error), [*reader.sections, SectionLines(kind, address, tuple(lines))]
        ) from None
    reader.sections.append(SectionLines(kind, address, tuple(lines)))
