"""A network larger than the chip in Verilator: the C++ host has the memory outside."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from twofold.golden.image import Image, input_frame, read_outputs
from twofold.golden.outside_tensors import input_content, span, tensor_of
from twofold.golden.transfers import REFERENCE_LATENCY
from twofold.sim.script import LIMIT, HostScript, SimulationError, inferences, run_and_fetch

#: Cycles that an inference may take more than predicted, for each beat of what lies outside.
_SLOW = 64


@dataclass(frozen=True)
class OutsideRun:
    """What an inference gave: outputs and the layers that lie outside, by name, and the registers."""

    outputs: tuple[NDArray[np.int64], ...]
    layers: dict[str, NDArray[np.int64]]
    cycles: int
    passes: int


def run_outside(
    image: Image,
    inputs: NDArray[np.int64],
    program: Path,
    *,
    latency: int = REFERENCE_LATENCY,
    pause: int = 0,
    seed: int = 1,
) -> list[OutsideRun]:
    """Runs a batch back to back.

    Parameters
    ----------
    image
        The image, of a build with a memory outside.
    inputs : int64, shape (B, C, H, W)
        Input activations.
    program
        The machine behind its host (`sim.fast.build_machine`).
    latency
        Cycles from a burst's address to its first beat, at least 1.
    pause, seed
        0 to 255: how often, out of 256 cycles, each stream and each channel of the bus pauses; seed of the pauses.

    Raises
    ------
    SimulationError
        If the machine reports an error or hangs.
    """
    if image.outside is None:
        raise SimulationError("Image must be of a build with a memory outside")
    placed = {layer.name: layer.output for layer in image.layers if layer.output.outside}
    script = HostScript().send(image.beats).fill(0, image.outside.memory().tobytes())
    for x in inputs:
        _input(script, image, x)
        script.run()
        for one in placed.values():
            script.fetch(*span(image.config, one))
    limit = LIMIT + 4 * image.cycles + _SLOW * image.outside.size
    plusargs = (f"+latency={latency}",)
    records, contents = run_and_fetch(program, script, pause=pause, seed=seed, limit=limit, plusargs=plusargs)
    fetched, runs = iter(contents), []
    for result in inferences(records):
        layers = {name: tensor_of(image.config, place, next(fetched)) for name, place in placed.items()}
        sent = iter(read_outputs(image, result.frames))
        maps = {place: layers[name] for name, place in placed.items()}
        outputs = tuple(
            one.given(maps[replace(one, order=None)]) if one.outside else next(sent) for one in image.outputs
        )
        runs.append(OutsideRun(outputs, layers, result.cycles, result.passes))
    return runs


def _input(script: HostScript, image: Image, x: NDArray[np.int64]) -> None:
    if image.input.outside:
        script.fill(span(image.config, image.input)[0], input_content(image, x))
    else:
        script.send(input_frame(image, x))
