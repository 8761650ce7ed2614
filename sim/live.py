"""A machine in Verilator that a host talks to access by access, over pipes: a link of `boards.device.Device`."""

import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from twofold.golden.config import ArrayConfig
from twofold.golden.registers import EVERY_REGISTER, Status
from twofold.golden.transfers import BURST_BYTES, REFERENCE_LATENCY
from twofold.sim.fast import build_machine
from twofold.sim.script import LIMIT, SimulationError

_RESET, _READ, _WRITE, _PUSH, _POLL, _TAKE, _FILL, _FETCH = 3, 4, 5, 6, 7, 8, 9, 10
#: Where a simulated memory outside has what is reserved: not where MEMORY points after a reset.
_PLACE = 2 * BURST_BYTES


def command(program: Path, *, pause: int = 0, seed: int = 1, latency: int = REFERENCE_LATENCY) -> list[str]:
    """Command that runs a machine behind its host (`sim.host.build`), whose commands come in at standard input.

    Parameters
    ----------
    pause, seed
        As in `sim.script.run`.
    latency
        Of the memory outside (cycles), in builds with one.
    """
    return [str(program), "-", "-", str(pause), str(seed), str(LIMIT), f"+latency={latency}"]


class LiveMachine:
    """A simulated machine under way; `close` ends it, or ``with``.

    Parameters
    ----------
    machine
        A build, or what `sim.host.build` returned.
    pause, seed, latency
        As in `command`.

    Raises
    ------
    SimulationError
        From any method, if the machine did not answer as a machine must.
    """

    def __init__(
        self, machine: ArrayConfig | Path, *, pause: int = 0, seed: int = 1, latency: int = REFERENCE_LATENCY
    ) -> None:
        program = build_machine(machine) if isinstance(machine, ArrayConfig) else machine
        asked = command(program, pause=pause, seed=seed, latency=latency)
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(asked, stdin=pipe, stdout=pipe, stderr=pipe)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the simulation."""
        self._process.communicate()

    def access(self, address: int, value: int | None = None) -> tuple[int, int]:
        """AXI response of the read, or with a value of the write, of an address, and the value read."""
        if value is None:
            response, found = self._ask([_READ, address], 2)
            return response, found
        return self._ask([_WRITE, address, value], 1)[0], 0

    def read(self, register: str) -> int:
        """A register's value (`golden.registers.EVERY_REGISTER`)."""
        response, value = self.access(EVERY_REGISTER[register].address)
        if response:
            raise ValueError(f"Register must be one that can be read, not {register!r}")
        return value

    def write(self, register: str, value: int) -> None:
        """Set a register."""
        if self.access(EVERY_REGISTER[register].address, value)[0]:
            raise ValueError(f"Register must be one that can be written, not {register!r}")

    def send(self, beats: Sequence[int]) -> None:
        """Send a frame and wait until the machine has taken it."""
        self.push(beats)
        for _ in range(LIMIT):
            if not self.poll()[0]:
                return
        raise TimeoutError(f"Machine must take a frame, not wait for {LIMIT} polls")

    def receive(self, count: int) -> tuple[int, ...]:
        """Wait for an output frame, whatever its length."""
        busy = True
        while busy:
            # It may send its last beat and end while it is asked: so it is looked once more.
            busy = Status.decode(self.read("STATUS")).busy
            if self.poll()[1]:
                return self.take()
        raise TimeoutError("Machine must send a frame, not end without one")

    def push(self, beats: Sequence[int]) -> None:
        """A frame that goes into the machine as time goes on."""
        self._ask([_PUSH, len(beats), *beats], 0)

    def poll(self) -> tuple[int, int]:
        """Lets some cycles pass; beats that are still to be sent, and frames that have come."""
        left, frames = self._ask([_POLL], 2)
        return left, frames

    def take(self) -> tuple[int, ...]:
        """Beats of the first output frame, which must have come."""
        (count,) = self._ask([_TAKE], 1)
        return self._words(count)

    def reserve(self, size: int) -> int:
        """Address of so many bytes of the memory outside, which hold anything (builds with one)."""
        self._ask([_FILL, _PLACE + size, 0], 0)
        return _PLACE

    def fill(self, place: int, content: bytes) -> None:
        """Write whole words into what is reserved, from its byte `place` on."""
        self._ask([_FILL, _PLACE + place, len(content)], 0, content)

    def fetch(self, place: int, count: int) -> bytes:
        """Read so many bytes, whole words, of what is reserved, from its byte `place` on."""
        self._ask([_FETCH, _PLACE + place, count], 0)
        return self._receive(count)

    def reset(self) -> None:
        """Reset the machine; what was to be sent and what has come is dropped."""
        self._ask([_RESET], 0)

    def _ask(self, words: Sequence[int], answers: int, content: bytes = b"") -> tuple[int, ...]:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(struct.pack(f"={len(words)}I", *words) + content)
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise self._ended() from error
        return self._words(answers)

    def _words(self, count: int) -> tuple[int, ...]:
        return struct.unpack(f"={count}I", self._receive(4 * count))

    def _receive(self, count: int) -> bytes:
        assert self._process.stdout is not None
        data = self._process.stdout.read(count)
        if len(data) < count:
            raise self._ended()
        return data

    def _ended(self) -> SimulationError:
        _, log = self._process.communicate()
        reason = log.decode(errors="replace").strip() or self._process.returncode
        return SimulationError(f"Machine must follow the host, not this: {reason}")
