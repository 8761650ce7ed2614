"""What the C++ host of a simulated machine does, in order, and what came of it."""

import struct
import subprocess
import sys
import tempfile
from array import array
from collections.abc import Iterable, Sequence
from pathlib import Path

from twofold.golden.registers import Error, Status
from twofold.sim.inference import Inference

_SEND, _RUN, _RESET, _FILL, _FETCH = 1, 2, 3, 9, 10
#: Most cycles of a frame or an inference of which nothing else is known.
LIMIT = 10_000_000


class SimulationError(RuntimeError):
    """The simulated machine did not answer as a machine must."""


class HostScript:
    """What a host does, in order: frames to send, inferences to run, resets."""

    def __init__(self) -> None:
        self.words = array("I")
        self.kinds: list[int] = []
        self.fetched: list[int] = []

    def send(self, beats: Sequence[int]) -> "HostScript":
        """Sends a frame (an image or an input)."""
        self.words.extend((_SEND, len(beats)))
        self.words.extend(beats)
        self.kinds.append(_SEND)
        return self

    def run(self) -> "HostScript":
        """Starts an inference and waits for its end."""
        self.words.append(_RUN)
        self.kinds.append(_RUN)
        return self

    def fill(self, address: int, content: bytes) -> "HostScript":
        """Writes whole words into the memory outside, from byte `address` on."""
        self.words.extend((_FILL, address, len(content)))
        words = array("I", content)
        if sys.byteorder == "big":
            words.byteswap()
        self.words.extend(words)
        return self

    def fetch(self, address: int, count: int) -> "HostScript":
        """Reads so many bytes, whole words, of the memory outside."""
        self.words.extend((_FETCH, address, count))
        self.kinds.append(_FETCH)
        self.fetched.append(count // 4)
        return self

    def reset(self) -> "HostScript":
        """Resets the machine."""
        self.words.append(_RESET)
        return self


def run(
    program: Path,
    script: HostScript,
    *,
    pause: int = 0,
    seed: int = 1,
    limit: int = LIMIT,
    plusargs: Sequence[str] = (),
) -> list[Error | Inference]:
    """Runs a script of the host.

    Parameters
    ----------
    program
        What `build` returned.
    script
        What the host does.
    pause
        0 to 255: how often, out of 256 cycles, each stream pauses.
    seed
        Of the pauses.
    limit
        Most cycles of a frame or an inference.
    plusargs
        ``+name=value`` for a design that reads them.

    Returns
    -------
    For each frame sent the error after it, for each inference its outcome.

    Raises
    ------
    SimulationError
        If the machine refused or did not answer a register access, or hung.
    """
    return run_and_fetch(program, script, pause=pause, seed=seed, limit=limit, plusargs=plusargs)[0]


def run_and_fetch(
    program: Path,
    script: HostScript,
    *,
    pause: int = 0,
    seed: int = 1,
    limit: int = LIMIT,
    plusargs: Sequence[str] = (),
) -> tuple[list[Error | Inference], list[bytes]]:
    """As `run`, and what was fetched of the memory outside."""
    with tempfile.TemporaryDirectory() as folder:
        source, result = Path(folder) / "script", Path(folder) / "result"
        words = array("I", script.words)
        if sys.byteorder == "big":
            words.byteswap()
        source.write_bytes(words.tobytes())
        command = [str(program), str(source), str(result), str(pause), str(seed), str(limit), *plusargs]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SimulationError(f"Machine must follow the script, not this: {done.stderr.strip() or done.returncode}")
        words = array("I", result.read_bytes())
    if sys.byteorder == "big":
        words.byteswap()
    return _records(words, script)


def _records(words: array, script: HostScript) -> tuple[list[Error | Inference], list[bytes]]:
    records: list[Error | Inference] = []
    contents: list[bytes] = []
    at = 0
    for kind in script.kinds:
        if kind == _FETCH:
            count = script.fetched[len(contents)]
            contents.append(struct.pack(f"<{count}I", *words[at : at + count]))
            at += count
            continue
        if kind == _SEND:
            records.append(Status.decode(words[at]).error)
            at += 1
            continue
        status, cycles, passes, count = words[at : at + 4]
        at += 4
        frames = []
        for _ in range(count):
            length = words[at]
            frames.append(tuple(words[at + 1 : at + 1 + length]))
            at += 1 + length
        records.append(Inference(tuple(frames), status, cycles, passes))
    return records, contents


def inferences(records: Iterable[Error | Inference]) -> list[Inference]:
    """The inferences of a script without an error.

    Raises
    ------
    SimulationError
        If the machine reported one.
    """
    found = []
    for record in records:
        error = record.error if isinstance(record, Inference) else record
        if error is not Error.NONE:
            raise SimulationError(f"Machine must follow the script, not report error {error.name}")
        if isinstance(record, Inference):
            found.append(record)
    return found
