"""The main job for one variant: quantize, export, map, emit, simulate, compare every integer."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import nn

from twofold.golden import container, image_folder, layers
from twofold.golden.config import load_config
from twofold.golden.image import Image
from twofold.golden.machine import Machine, infer
from twofold.golden.network import Network
from twofold.hdl.emit import emit, top_name
from twofold.mapper.compiler import compile_network
from twofold.sim.fast import build_machine, run_images
from twofold.support.files import write_text
from twofold.synth.multipliers import mapped_multipliers
from twofold.train import integer, pipelines
from twofold.train.data import DataSet
from twofold.train.export import export

#: RTL images that run between two looks at the clock, and the fewest that run at all.
CHUNK, FEWEST = 100, 100
#: Images that the pass-level model runs; it is compared with the golden model, as RTL is.
MODEL_IMAGES = 20

Tensors = dict[str, NDArray[np.int64]]
Say = Callable[[str], None]


@dataclass(frozen=True)
class Variant:
    """One row of the demo's table.

    Parameters
    ----------
    name
        As it is printed.
    recipe, config
        Names of files in recipes/ and configs/.
    """

    name: str
    recipe: str
    config: str


VARIANTS = (
    Variant("STLQ W3A4, R 10 %", "stlq_w3a4_r10", "log_8x8"),
    Variant("subset W4A8", "subset_w4a8", "subset_8x8"),
    Variant("subset W3A8", "subset_w3a8", "subset3_8x8"),
)


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a variant gave.

    Parameters
    ----------
    variant
        Which.
    quantized
        Model, recipe and accuracy of the fake-quantized PyTorch model.
    network, image
        What was exported and what it was compiled to.
    tensors
        Golden model's layer outputs on all held-out images.
    golden_accuracy, torch_accuracy, rtl_accuracy
        Of the golden model and PyTorch's integer mode on all held-out images, of RTL on those that it ran.
    rtl_images
        Held-out images that the RTL ran, in their order.
    mismatches
        Integers that differ from the golden model's, over all layers: PyTorch's integer mode, pass-level model, RTL.
    compared
        Integers compared.
    cycles_simulated
        Cycles an image that the machine counted; the same for all.
    multipliers
        Multiplying cells of the synthesised netlist.
    """

    variant: Variant
    quantized: pipelines.Quantized
    network: Network
    image: Image
    tensors: Tensors
    golden_accuracy: float
    torch_accuracy: float
    rtl_accuracy: float
    rtl_images: int
    mismatches: int
    compared: int
    cycles_simulated: int
    multipliers: int


def run_variant(
    variant: Variant, model: nn.Module, data: DataSet, folder: Path, *, limit: float, images: int | None, say: Say
) -> Outcome:
    """Take a trained float model through the main job.

    Parameters
    ----------
    variant
        What to do.
    model, data
        Float model and data set.
    folder
        Where network, memory images and Verilog go.
    limit
        Seconds of RTL simulation after which no further images start, once `FEWEST` have run.
    images
        Most held-out images for the RTL; ``None`` takes all.
    say
        Called with what is being done.

    Raises
    ------
    RuntimeError
        If the machine's cycles differ between images.
    """
    config = load_config(variant.config)
    say("quantize")
    quantized = pipelines.apply(model, data, variant.recipe, config)
    network = export(quantized.model, config)
    image = compile_network(network, config)
    container.save(network, folder / "networks" / variant.recipe)
    image_folder.save(image, folder / "images" / variant.recipe)
    verilog = folder / "verilog" / f"{top_name(config)}.v"
    write_text(verilog, emit(config))

    say("PyTorch, golden and pass-level model")
    inputs = data.test_integers.numpy()
    labels = data.test_y.numpy()
    golden = layers.run(network, inputs)
    torch_tensors = {name: tensor.numpy() for name, tensor in integer.run(network, data.test_integers).items()}
    differing = _Comparison(golden)
    differing.add(torch_tensors, 0)
    machine = Machine(config)
    machine.write(image.beats)
    for number in range(MODEL_IMAGES):
        result = infer(machine, image, inputs[number])
        differing.add({name: tensor[None] for name, tensor in result.tensors.items()}, number)

    say("build simulator")
    build_machine(config)
    end = time.monotonic() + limit
    most = len(inputs) if images is None else min(images, len(inputs))
    outputs: list[NDArray[np.int64]] = []
    cycles: set[int] = set()
    while len(outputs) < most and (len(outputs) < FEWEST or time.monotonic() < end):
        first = len(outputs)
        say(f"RTL simulation, image {first + 1} of {most}")
        batch = run_images(image, inputs[first : min(first + CHUNK, most)], every_layer=True)
        differing.add(batch.layers | {network.output.name: batch.output}, first)
        outputs.extend(batch.output)
        cycles |= set(batch.cycles.tolist())
    if len(cycles) != 1:
        raise RuntimeError(f"Cycles must be the same for every image, not {sorted(cycles)}")

    say("synthesis")
    netlist = mapped_multipliers(config, folder / "synth" / config.name)
    guesses = np.array(outputs).reshape(len(outputs), -1).argmax(axis=1)
    return Outcome(
        variant,
        quantized,
        network,
        image,
        golden,
        golden_accuracy=_accuracy(golden[network.output.name], labels),
        torch_accuracy=_accuracy(torch_tensors[network.output.name], labels),
        rtl_accuracy=float((guesses == labels[: len(outputs)]).mean()),
        rtl_images=len(outputs),
        mismatches=differing.mismatches,
        compared=differing.compared,
        cycles_simulated=cycles.pop(),
        multipliers=netlist.multipliers,
    )


class _Comparison:
    """Counts integers that differ from the golden model's."""

    def __init__(self, golden: Tensors):
        self.golden = golden
        self.mismatches = 0
        self.compared = 0

    def add(self, tensors: Tensors, first: int) -> None:
        """Compare images from number `first` on, every layer of the golden model."""
        for name, expected in self.golden.items():
            found = tensors[name]
            wanted = expected[first : first + len(found)]
            if found.shape != wanted.shape:
                raise ValueError(f"Tensor {name!r} must be {wanted.shape}, not {found.shape!r}")
            self.mismatches += int((found != wanted).sum())
            self.compared += wanted.size


def _accuracy(outputs: NDArray[np.int64], labels: NDArray[np.int64]) -> float:
    return float((outputs.reshape(len(outputs), -1).argmax(axis=1) == labels).mean())
