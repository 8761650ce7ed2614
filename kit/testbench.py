"""The testbench of a package: a network's image and inputs as beats, and golden's outputs."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twofold.golden import layers
from twofold.golden.config import ArrayConfig
from twofold.golden.frame import split
from twofold.golden.image import Image, input_frame, pack_tensor
from twofold.golden.isa import Section, line_beats
from twofold.golden.network import Network
from twofold.golden.registers import STATUS
from twofold.hdl.emit import top_name
from twofold.kit.headers import constants
from twofold.kit.templates import fill


@dataclass(frozen=True, eq=False)
class Vectors:
    """What a machine is given and what it must give.

    Parameters
    ----------
    image
        The network on a build.
    inputs, outputs : int64, shape (B, C, H, W)
        Inputs, and golden's outputs.
    """

    image: Image
    inputs: NDArray[np.int64]
    outputs: NDArray[np.int64]

    @property
    def sent(self) -> list[list[int]]:
        """Frames into the machine, the image's first."""
        return [self.image.beats, *(input_frame(self.image, x) for x in self.inputs)]


def vectors(network: Network, image: Image, inputs: NDArray[np.int64]) -> Vectors:
    """What the machine must make of inputs, shape (B, C, H, W).

    Raises
    ------
    ValueError
        If the network has more than one output, which the package's driver cannot take.
    """
    if len(network.outputs) > 1:
        raise ValueError(f"Network {network.name!r} must have one output for a package, not {len(network.outputs)}")
    return Vectors(image, inputs, layers.run(network, inputs)[network.output.name])


def testbench_files(given: Vectors) -> dict[str, str]:
    """The testbench and its memory files."""
    image = given.image
    sent = [f"{last:x}{beat:08x}" for frame in given.sent for beat, last in _lasting(frame)]
    expected = [line for y in given.outputs for line in _expected(image.config, y)]
    values = constants(image.config)
    numbers = {name: values[name] for name in values if name.startswith("REG_")}
    texts = {f"{name}_VALUE": f"{values[f'{name}_VALUE']:08x}" for name in ("ID", "VERSION", "BUILD")}
    done = STATUS.pack({"busy": 0, "done": 1, "loaded": 1, "reserved": 0, "error": 0})
    text = fill(
        "testbench.v",
        {
            **numbers,
            **texts,
            "TOP": top_name(image.config),
            "SENT": len(sent),
            "EXPECTED": len(expected),
            "INPUTS": len(given.inputs),
            "CYCLES": image.cycles,
            "PASSES": image.passes,
            "DONE": done,
            # Every other cycle at least, each stream moves if the other side lets it.
            "LIMIT": 10_000 + 8 * (len(sent) + len(expected)) + 2 * image.cycles * len(given.inputs),
        },
    )
    return {"testbench.v": text, "stimulus.mem": _lines(sent), "expected.mem": _lines(expected)}


def _expected(config: ArrayConfig, y: NDArray[np.int64]) -> Iterator[str]:
    """Beats of an output frame, shape (C, H, W): last, mask of the lanes that are channels, value."""
    values, masks = (_beats(config, lanes) for lanes in (y, np.full_like(y, -1)))
    for (beat, last), mask in zip(_lasting(values), masks, strict=True):
        yield f"{last:x}{mask:08x}{beat:08x}"


def _beats(config: ArrayConfig, tensor: NDArray[np.int64]) -> list[int]:
    width = line_beats(config, Section.FEATURE)
    return [beat for line in pack_tensor(config, tensor) for beat in split(line, width)]


def _lasting(frame: list[int]) -> Iterator[tuple[int, bool]]:
    """Beats, and whether each is the last of its frame."""
    return ((beat, n + 1 == len(frame)) for n, beat in enumerate(frame))


def _lines(lines: list[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
