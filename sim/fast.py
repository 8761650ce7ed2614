"""The whole machine in Verilator behind a C++ host: millions of cycles a second, no Python in the loop.

The host (`sim.host`) speaks to the machine through its AXI ports only, as a real one would.
"""

import struct
import subprocess
import sys
import tempfile
from array import array
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from twofold.golden.config import ArrayConfig
from twofold.golden.image import Image, input_frame, read_outputs
from twofold.golden.registers import Error, Status
from twofold.hdl.emit import emit
from twofold.sim.host import build
from twofold.sim.inference import Inference
from twofold.sim.probe import probed, read_layers

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


@dataclass(frozen=True, eq=False)
class Batch:
    """What the machine made of a batch of inputs.

    Parameters
    ----------
    outputs : int64, shape (B, C, H, W), for each of the network's outputs
        Output tensors.
    layers : dict name -> int64, shape (B, C, H, W)
        Every layer's tensor, if asked for.
    cycles, passes : int64, shape (B,)
        Registers after each inference.
    """

    outputs: tuple[NDArray[np.int64], ...]
    layers: dict[str, NDArray[np.int64]]
    cycles: NDArray[np.int64]
    passes: NDArray[np.int64]

    @property
    def output(self) -> NDArray[np.int64]:
        """The only output, or the first of several."""
        return self.outputs[0]


def run_images(
    image: Image,
    inputs: NDArray[np.int64],
    *,
    every_layer: bool = False,
    pause: int = 0,
    seed: int = 1,
    workers: int = 2,
    program: Path | None = None,
) -> Batch:
    """Runs a batch through the whole machine, back to back and without reset, loading the image once a worker.

    Parameters
    ----------
    image
        The image; its build is emitted and built if it has not been.
    inputs : int64, shape (B, C, H, W)
        Input activations.
    every_layer
        Also run a probed image (`sim.probe`) for every layer's tensor.
    pause, seed
        As in `run`.
    workers
        Simulators side by side, each with its share of the batch.
    program
        The machine behind its host (`sim.host.build`), if not the emitted one.

    Raises
    ------
    SimulationError
        If the machine reports an error or hangs.
    ValueError
        If there is no input, or one that the image does not take.
    """
    if not len(inputs):
        raise ValueError("Batch must have at least one input, not 0")
    program = program or build_machine(image.config)
    results = _share(program, image, inputs, pause, seed, workers)
    layers: dict[str, list[NDArray[np.int64]]] = {}
    if every_layer:
        probe = probed(image)
        for result in _share(program, probe, inputs, pause, seed, workers):
            for name, tensor in read_layers(probe, result.frames).items():
                layers.setdefault(name, []).append(tensor)
    sent = [read_outputs(image, result.frames) for result in results]
    return Batch(
        tuple(np.stack([tensors[number] for tensors in sent]) for number in range(len(image.outputs))),
        {name: np.stack(tensors) for name, tensors in layers.items()},
        np.array([result.cycles for result in results]),
        np.array([result.passes for result in results]),
    )


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


def patience(image: Image) -> int:
    """Cycles after which an inference must have hung, however often its streams pause."""
    return LIMIT + 4 * image.cycles


@cache
def build_machine(config: ArrayConfig, *, threads: int = 1) -> Path:
    """Emits a build's Verilog and builds it with its C++ host, in so many threads: what `run` takes."""
    bus_bits = config.bus_bits if config.external else 0
    return build(emit(config), f"twofold_{config.name}", threads=threads, bus_bits=bus_bits)


def _share(
    program: Path, image: Image, inputs: NDArray[np.int64], pause: int, seed: int, workers: int
) -> list[Inference]:
    """One inference an input, in their order."""

    def work(number: int, part: NDArray[np.int64]) -> list[Inference]:
        script = HostScript().send(image.beats)
        for x in part:
            script.send(input_frame(image, x)).run()
        records = run(program, script, pause=pause, seed=seed + number, limit=patience(image))
        return inferences(records)

    parts = np.array_split(inputs, min(workers, len(inputs)))
    with ThreadPoolExecutor(len(parts)) as pool:
        return [result for part in pool.map(work, range(len(parts)), parts) for result in part]
