"""The memory outside in a package's testbench: what it holds at first, inputs, outputs, and a model of it."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from twofold.golden.config import ArrayConfig
from twofold.golden.image import Image, PlacedTensor, pack_tensor
from twofold.golden.isa import Section
from twofold.golden.outside import line_bytes
from twofold.golden.outside_tensors import input_content, span
from twofold.golden.transfers import REFERENCE_LATENCY
from twofold.kit.templates import fill

#: Where the testbench's memory begins: not where the machine looks after a reset.
BASE = 0x10000000
#: The machine's ports that the model drives or looks at; the other ones say what never changes.
PORTS = tuple(
    f"m_axi_{name}"
    for name in (
        *("araddr", "arlen", "arvalid", "arready", "rid", "rdata", "rresp", "rlast", "rvalid", "rready"),
        *("awaddr", "awlen", "awvalid", "awready", "wdata", "wvalid", "wready", "bid", "bresp", "bvalid", "bready"),
    )
)


def memory_model(image: Image, inputs: int) -> str:
    """The model's Verilog, and what the testbench of so many inputs knows of the memory."""
    config = image.config
    assert image.outside is not None
    lying = [placed for placed in image.outputs if placed.outside]
    return fill(
        "memory_axi4.v",
        {
            "BUS_BITS": config.bus_bits,
            "BASE": f"{BASE:08x}",
            "BEATS": _beats(config, image.outside.size),
            "CONTENT": _beats(config, len(image.outside.content)),
            "LATENCY": REFERENCE_LATENCY,
            "INPUTS": inputs,
            "IMAGE_BEATS": len(image.beats),
            "INPUT_BEATS": _beats(config, span(config, image.input)[1]) if image.input.outside else 0,
            "INPUT_PLACE": image.input.address if image.input.outside else 0,
            "OUTPUT_BEATS": sum(_beats(config, span(config, placed)[1]) for placed in lying),
        },
    )


def memories(image: Image, inputs: NDArray[np.int64], outputs: Sequence[NDArray[np.int64]]) -> dict[str, list[str]]:
    """Lines of the testbench's files: what lies outside at first, inputs, and the outputs to be found there.

    Parameters
    ----------
    image
        The image, of a build with a memory outside.
    inputs : int64, shape (B, C, H, W)
        Inputs.
    outputs : int64, shape (B, C, H, W), for each of the network's outputs
        Golden's outputs.
    """
    assert image.outside is not None
    size = image.config.bus_bits // 8
    given = [beat for x in inputs for beat in _hex(input_content(image, x), size)] if image.input.outside else []
    lying = [(one, y) for one, y in zip(image.outputs, outputs, strict=True) if one.outside]
    return {
        "outside.mem": list(_hex(image.outside.content, size)),
        "inputs.mem": given,
        "outside_expected.mem": [
            line for n in range(len(inputs)) for one, y in lying for line in _expected(image.config, one, y[n])
        ],
    }


def _expected(config: ArrayConfig, placed: PlacedTensor, y: NDArray[np.int64]) -> Iterator[str]:
    """Beats of a tensor outside, shape (C, H, W): place, mask of the lanes that are channels, value."""
    size = line_bytes(config, Section.FEATURE)
    values, masks = (
        b"".join(line.to_bytes(size, "little") for line in pack_tensor(config, lanes))
        for lanes in (y, np.full_like(y, -1))
    )
    beats = zip(_hex(masks, config.bus_bits // 8), _hex(values, config.bus_bits // 8), strict=True)
    for number, (mask, value) in enumerate(beats):
        yield f"{placed.address + number:08x}{mask}{value}"


def _beats(config: ArrayConfig, count: int) -> int:
    """Beats of so many bytes."""
    return count * 8 // config.bus_bits


def _hex(content: bytes, size: int) -> Iterator[str]:
    """Beats of so many bytes, as $readmemh reads them."""
    return (content[at : at + size][::-1].hex() for at in range(0, len(content), size))
