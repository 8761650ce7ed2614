"""An image that sends every layer's tensor, so that a host can compare all of them."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from twofold.golden.image import Image, read_outputs
from twofold.golden.isa import Output, decode
from twofold.golden.timing import cycles, timing


def probed(image: Image) -> Image:
    """The image with an OUTPUT after each layer instead of those of its outputs.

    The layer table keeps the lines of the original program.

    Raises
    ------
    ValueError
        If the program memory is too short for the added instructions.
    """
    config = image.config
    sends = {}
    for layer in image.layers:
        count = layer.output.lines(config) - 1
        sends[layer.last] = Output(address=layer.output.address, count=count).encode(config)
    program: list[int] = []
    for number, line in enumerate(image.program):
        if not isinstance(image.instructions[number], Output):
            program.append(line)
        if number in sends:
            program.append(sends[number])
    if len(program) > config.program_depth:
        raise ValueError(f"Probed program must be at most {config.program_depth} lines, not {len(program)!r}")
    steps = timing(config, [decode(config, line) for line in program])
    outputs = tuple(layer.output for layer in image.layers)
    return replace(image, program=tuple(program), cycles=cycles(steps), outputs=outputs)


def read_layers(image: Image, frames: Sequence[Sequence[int]]) -> dict[str, NDArray[np.int64]]:
    """The tensors that the output frames of a probed image carry, by layer.

    Raises
    ------
    ValueError
        If there is not one frame a layer, or one has another length.
    """
    tensors = read_outputs(image, frames)
    return {layer.name: tensor for layer, tensor in zip(image.layers, tensors, strict=True)}
