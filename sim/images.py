"""Many inputs through the whole machine: jobs side by side, every output compared with golden."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twofold.golden import layers
from twofold.golden.image import Image
from twofold.golden.network import Network
from twofold.sim import gates
from twofold.sim.fast import build_machine, run_images
from twofold.sim.runner import BenchResult
from twofold.sim.script import SimulationError
from twofold.support.jobs import Engine, Job

#: Most images of a job.
MOST = 50


@dataclass(frozen=True, eq=False)
class ImagesRun:
    """What a machine made of some images.

    Parameters
    ----------
    image
        The network on the build.
    outputs : int64, shape (B, C, H, W) or (B, *order.shape), for each of the network's outputs
        What it sent.
    mismatches
        Integers of the outputs that differ from golden's.
    cycles : int64, shape (B,)
        Its CYCLES register.
    seconds
        Wall-clock time of simulation and comparison.
    """

    image: Image
    outputs: tuple[NDArray[np.int64], ...]
    mismatches: int
    cycles: NDArray[np.int64]
    seconds: float

    @property
    def wrong(self) -> str:
        """What is not as it must be, or nothing."""
        if self.mismatches:
            size = sum(output.size for output in self.outputs)
            return f"Output must be golden's, but {self.mismatches} of {size} integers differ"
        found = sorted(set(self.cycles.tolist()))
        return "" if found == [self.image.cycles] else f"Cycles must be {self.image.cycles}, not {found}"

    def result(self) -> BenchResult:
        """As a line of the simulation's report."""
        name = f"{self.image.config.name} {self.image.network}"
        return BenchResult("images", name, not self.wrong, int(self.cycles.sum()), round(self.seconds, 3), self.wrong)

    def facts(self, labels: NDArray[np.int64] | None) -> dict[str, Any]:
        """What the report says; `labels`, shape (B,): of the images, which give an accuracy."""
        image, count = self.image, len(self.cycles)
        guesses = self.outputs[0].reshape(count, -1).argmax(axis=1)
        return {
            "network": image.network,
            "build": image.config.name,
            "images": count,
            "mismatches": self.mismatches,
            **({} if labels is None else {"accuracy": float((guesses == labels).mean())}),
            "cycles_predicted": image.cycles,
            "cycles_simulated": max(self.cycles.tolist(), key=lambda cycles: abs(cycles - image.cycles)),
            "utilisation": image.utilisation(),
            "lost": image.lost,
            "wall_seconds_per_image": self.seconds / count,
            "layers": [
                {
                    "name": layer.name,
                    "kind": layer.kind,
                    "passes": layer.passes,
                    "cycles": layer.cycles,
                    "utilisation": image.utilisation(layer),
                    "lost": layer.lost,
                }
                for layer in image.layers
            ],
        }


#: Outputs, the CYCLES register after each input, and how many integers are not golden's.
Part = tuple[tuple[NDArray[np.int64], ...], NDArray[np.int64], int]


def run_all(
    image: Image,
    network: Network,
    inputs: NDArray[np.int64],
    engine: Engine,
    *,
    style: str | None = None,
    done: Callable[[int], object] = lambda count: None,
) -> ImagesRun:
    """Run inputs through simulators of the machine, a job (`support.jobs`) for every `MOST` of them at most.

    Parameters
    ----------
    image, network
        The network on the build, and itself.
    inputs : int64, shape (B, C, H, W)
        Input activations.
    engine
        What runs the simulators.
    style
        Of gates (`sim.gates`), if not the emitted machine is simulated.
    done
        Called with a number of images that have just been run and compared.

    Raises
    ------
    SimulationError
        If the machine reports an error or hangs.
    ValueError
        If there is no input, or one that the image does not take.
    """
    if not len(inputs):
        raise ValueError("Images must be at least one, not 0")
    started = time.monotonic()
    width = engine.width
    parts = np.array_split(inputs, min(len(inputs), width * -(-len(inputs) // (width * MOST))))
    name = f"{image.config.name} {image.network}"
    jobs = [
        Job(f"images of {name}", run_part, (image, network, part, style), f"images-{name}-{number}")
        for number, part in enumerate(parts)
    ]
    found = list(engine.results(jobs, lambda job, result: done(len(result[1]))))
    seconds = time.monotonic() - started
    outputs, cycles, wrong = zip(*found, strict=True)
    together = tuple(np.concatenate(one) for one in zip(*outputs, strict=True))
    return ImagesRun(image, together, sum(wrong), np.concatenate(cycles), seconds)


def run_part(image: Image, network: Network, part: NDArray[np.int64], style: str | None) -> Part:
    """Run some inputs through one simulator and compare its outputs with golden; it raises as `run_all`."""
    program = gates.build(image.config, style) if style else build_machine(image.config)
    batch = run_images(image, part, workers=1, program=program)
    golden = layers.run(network, part)
    expected = network.results(golden)
    given, wanted = ([one.shape for one in tensors] for tensors in (batch.outputs, expected))
    if given != wanted:
        raise SimulationError(f"Outputs must be of shapes {wanted}, not {given}")
    wrong = sum(int((one != right).sum()) for one, right in zip(batch.outputs, expected, strict=True))
    return batch.outputs, batch.cycles, wrong
