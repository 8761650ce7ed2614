"""The whole machine in Verilator behind a C++ host: millions of cycles a second, no Python in the loop.

The host (`sim.host`) speaks to the machine through its AXI ports only, as a real one would.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from twofold.golden.config import ArrayConfig
from twofold.golden.image import Image, input_frame, read_outputs
from twofold.hdl.emit import emit
from twofold.sim.host import build
from twofold.sim.inference import Inference
from twofold.sim.outside import OutsideRun, run_outside
from twofold.sim.probe import probed, read_layers
from twofold.sim.script import LIMIT, HostScript, inferences, run


@dataclass(frozen=True, eq=False)
class Batch:
    """What the machine made of a batch of inputs.

    Parameters
    ----------
    outputs : int64, shape (B, C, H, W) or (B, *order.shape), for each of the network's outputs
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
    if image.outside is not None:
        return _outside_batch(run_outside(image, inputs, program, pause=pause, seed=seed), every_layer)
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


def _outside_batch(runs: list[OutsideRun], every_layer: bool) -> Batch:
    """As a batch; of the layers those that lie outside."""
    names = runs[0].layers if every_layer else ()
    return Batch(
        tuple(np.stack(outputs) for outputs in zip(*(one.outputs for one in runs), strict=True)),
        {name: np.stack([one.layers[name] for one in runs]) for name in names},
        np.array([one.cycles for one in runs]),
        np.array([one.passes for one in runs]),
    )
