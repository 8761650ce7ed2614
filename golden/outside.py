"""The memory outside the chip, and the pass-level model of who moves lines between it and the chip's memories."""

from collections.abc import Iterator, Sequence
from itertools import takewhile

import numpy as np
from numpy.typing import NDArray

from twofold.golden.config import ArrayConfig
from twofold.golden.isa import Section, line_bits, line_count
from twofold.golden.memories import Memories, lines_of
from twofold.golden.transfer_clock import TransferClock
from twofold.golden.transfers import REFERENCE_LATENCY, Transfer, bus_beats, entry_beats

Bytes = NDArray[np.uint8]


class DeadlockError(RuntimeError):
    """A program waits for a transfer that waits for a DRAIN behind it, or for one that the list does not have."""


class Outside:
    """A memory of bytes, and the transfers that its list asks for.

    Parameters
    ----------
    memories
        The chip's.

    Attributes
    ----------
    memory : uint8, shape (bytes,)
        What lies outside, from the base on. A host sets it.
    drained, done
        DRAINs and transfers of the inference that are done.
    """

    def __init__(self, memories: Memories) -> None:
        self.memories = memories
        self.config = memories.config
        self.memory: Bytes = np.zeros(0, dtype=np.uint8)
        self.drained = self.done = 0

    def begin(self) -> None:
        """At the start of an inference: a program begins when the first transfer is done."""
        self.drained = self.done = 0
        self._entries = read_list(self.config, self.memory)
        self._next = next(self._entries)
        self.advance(1)

    def advance(self, need: int | None = None) -> None:
        """Do transfers until `need` are done; without it, all that may be done now.

        Raises
        ------
        DeadlockError
            If one of those needed waits for more DRAINs than were done, or the list ends before.
        ValueError
            If one reaches beyond a memory.
        """
        while need is None or self.done < need:
            entry = self._next
            if entry.kind is Section.END or entry.after > self.drained:
                if need is None:
                    return
                reason = "is not in the list" if entry.kind is Section.END else f"waits for DRAIN {entry.after}"
                raise DeadlockError(f"Transfer {self.done} {reason}; {self.drained} DRAINs are done")
            self._move(entry)
            self.done += 1
            self._next = next(self._entries)

    def finish(self) -> None:
        """At the end of a program, whose transfers must all be done or can be."""
        self.advance()
        if self._next.kind is not Section.END:
            raise DeadlockError(f"Transfer {self.done} waits for DRAIN {self._next.after} behind the program's END")

    def _move(self, entry: Transfer) -> None:
        size = line_bytes(self.config, entry.kind)
        beat = self.config.bus_bits // 8
        for row in range(entry.rows):
            place = (entry.memory + row * entry.memory_step) * beat
            line = entry.line + row * entry.line_step
            self._check("memory outside", place + entry.length * size, len(self.memory), "bytes")
            depth = line_count(self.config, entry.kind)
            self._check(f"{entry.kind.name.lower()} memory", line + entry.length, depth, "lines")
            if entry.store:
                lines = lines_of(self.memories.feature[line : line + entry.length], self.config.act_bits)
                write_lines(self.config, self.memory, place, entry.kind, lines)
            else:
                lines = read_lines(self.config, self.memory, place, entry.kind, entry.length)
                self.memories.write_lines(entry.kind, line, lines)

    def _check(self, memory: str, end: int, depth: int, unit: str) -> None:
        if end > depth:
            raise ValueError(f"Transfer {self.done}: {memory} must have {end} {unit}, not {depth}")


def line_bytes(config: ArrayConfig, kind: Section) -> int:
    """Bytes that a line takes outside."""
    return bus_beats(config, kind) * config.bus_bits // 8


def write_lines(config: ArrayConfig, memory: Bytes, place: int, kind: Section, lines: Sequence[int]) -> None:
    """Write lines of a memory of the chip outside, from byte `place` on."""
    size = line_bytes(config, kind)
    joined = b"".join(line.to_bytes(size, "little") for line in lines)
    memory[place : place + len(joined)] = np.frombuffer(joined, dtype=np.uint8)


def read_lines(config: ArrayConfig, memory: Bytes, place: int, kind: Section, count: int) -> list[int]:
    """Lines of a memory of the chip that lie outside, from byte `place` on; the reverse of `write_lines`."""
    size, mask = line_bytes(config, kind), (1 << line_bits(config, kind)) - 1
    rows = memory[place : place + count * size].reshape(count, size)
    return [int.from_bytes(row.tobytes(), "little") & mask for row in rows]


def transfer_clock(config: ArrayConfig, memory: Bytes, latency: int = REFERENCE_LATENCY) -> TransferClock:
    """When the transfers of a memory's list are done in an inference, with a memory of some latency (cycles)."""
    return TransferClock(config, transfer_list(config, memory), latency, 0)


def transfer_list(config: ArrayConfig, memory: Bytes) -> tuple[Transfer, ...]:
    """The transfer list at the beginning of a memory, without the entry that ends it."""
    return tuple(takewhile(lambda entry: entry.kind is not Section.END, read_list(config, memory)))


def read_list(config: ArrayConfig, memory: Bytes) -> Iterator[Transfer]:
    """The transfer list at the beginning of a memory, with the entry that ends it; then that one for ever."""
    size = entry_beats(config) * config.bus_bits // 8
    end = Transfer(kind=Section.END)
    for begin in range(0, len(memory) - size + 1, size):
        entry = Transfer.decode(config, int.from_bytes(memory[begin : begin + size].tobytes(), "little"))
        if entry.kind is Section.END:
            break
        yield entry
    while True:
        yield end
