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
from twofold.hdl.control import ADDRESS_BITS
from twofold.hdl.emit import top_name
from twofold.hdl.top import PORTS
from twofold.kit import outside
from twofold.kit.headers import constants
from twofold.kit.templates import fill


@dataclass(frozen=True, eq=False)
class Vectors:
    """What a machine is given and what it must give.

    Parameters
    ----------
    image
        The network on a build.
    inputs : int64, shape (B, C, H, W)
        Inputs.
    outputs : int64, shape (B, C, H, W), for each of the network's outputs
        Golden's outputs.
    """

    image: Image
    inputs: NDArray[np.int64]
    outputs: tuple[NDArray[np.int64], ...]

    @property
    def sent(self) -> list[list[int]]:
        """Frames into the machine, the image's first; an input that lies outside is none."""
        sent = self.inputs[:0] if self.image.input.outside else self.inputs
        return [self.image.beats, *(input_frame(self.image, x) for x in sent)]


def vectors(network: Network, image: Image, inputs: NDArray[np.int64]) -> Vectors:
    """What the machine must make of inputs, shape (B, C, H, W)."""
    tensors = layers.run(network, inputs)
    return Vectors(image, inputs, tuple(tensors[layer.name] for layer in network.outputs))


def testbench_files(given: Vectors) -> dict[str, str]:
    """The machine's testbench and its memory files, which are those of every wrapper's as well."""
    stimulus, expected = _memories(given)
    names = [name for name in PORTS if name.startswith("s_axil_")]
    text = bus_testbench(given, top_name(given.image.config), "axi_lite", names)
    memories = {"stimulus.mem": stimulus, "expected.mem": expected}
    if given.image.outside is not None:
        memories |= outside.memories(given.image, given.inputs, given.outputs)
    return {"testbench.v": text} | {name: _lines(lines) for name, lines in memories.items() if lines}


def bus_testbench(given: Vectors, top: str, bus: str, names: list[str]) -> str:
    """The testbench of a module whose registers are on a bus.

    Parameters
    ----------
    given
        What is sent and expected.
    top
        The module: its streams are the machine's.
    bus, names
        A file ``bus_*.v`` of `kit/files`, and the ports that it drives.
    """
    image = given.image
    stimulus, expected = _memories(given)
    values = constants(image.config)
    done = STATUS.pack({"busy": 0, "done": 1, "loaded": 1, "reserved": 0, "error": 0})
    registers = {name: values[name] for name in values if name.startswith("REG_")}
    external = image.config.external
    return fill(
        "testbench.v",
        {
            **registers,
            **{f"{name}_VALUE": f"{values[f'{name}_VALUE']:08x}" for name in ("ID", "VERSION", "BUILD")},
            "TOP": top,
            "BUS": fill(f"bus_{bus}.v", {"ADDRESS_HIGH": ADDRESS_BITS - 3}),
            "MEMORY": outside.memory_model(image, len(given.inputs)) if external else "",
            "RUN": fill("run_axi4.v" if external else "run_on_chip.v", registers),
            "BUS_PORTS": ",\n    ".join(f".{name}({name})" for name in [*names, *(outside.PORTS if external else ())]),
            "SENT": len(stimulus),
            "EXPECTED": len(expected),
            "INPUTS": len(given.inputs),
            "CYCLES": image.cycles,
            "PASSES": image.passes,
            "DONE": done,
            # Every other cycle at least, each stream moves if the other side lets it.
            "LIMIT": 10_000 + 8 * (len(stimulus) + len(expected)) + 2 * image.cycles * len(given.inputs),
        },
    )


def _memories(given: Vectors) -> tuple[list[str], list[str]]:
    """Lines of the files of what is sent and expected."""
    sent = [f"{last:x}{beat:08x}" for frame in given.sent for beat, last in _lasting(frame)]
    config = given.image.config
    frames = [y for y, placed in zip(given.outputs, given.image.outputs, strict=True) if not placed.outside]
    inferences = zip(*frames, strict=True)
    return sent, [line for tensors in inferences for y in tensors for line in _expected(config, y)]


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
