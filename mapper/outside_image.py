"""The memory image of a build with external memory: where regions lie outside, and what the host writes there."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from twofold.golden.config import ArrayConfig
from twofold.golden.image import Image, OutsideContent, PlacedTensor
from twofold.golden.isa import Instruction, Section
from twofold.golden.network import INPUT, Network
from twofold.golden.outside import transfer_clock, write_lines
from twofold.golden.timing import cycles, timing
from twofold.golden.transfers import BURST_BYTES, Transfer, bus_beats, entry_beats
from twofold.mapper.external import Compiled, compile_outside
from twofold.mapper.folding import Stored
from twofold.mapper.image_layers import image_layers, placed_outputs
from twofold.mapper.memory import tensor_lines


def outside_image(config: ArrayConfig, network: Network, way: Stored) -> Image:
    """Map a network to a build with external memory, on one way to store its input.

    Raises
    ------
    FitError
        If some layer does not fit the chip's memories in bands.
    """
    compiled = compile_outside(config, way.network)
    program = compiled.tape.finished()
    regions, size = _regions(config, way.network, compiled, len(program))
    content = _content(config, compiled, regions, program)
    steps = timing(config, program, transfer_clock(config, np.frombuffer(content, dtype=np.uint8)))
    tensors = {
        name: PlacedTensor(tensor, compiled.residence.places[name])
        if name in compiled.residence.places
        else PlacedTensor(tensor, regions[f"tensor {name}"], outside=True)
        for name, tensor in way.network.tensors.items()
    }
    return Image(
        config=config,
        network=network.name,
        program=tuple(instruction.encode(config) for instruction in program),
        weight=(),
        channel=(),
        points=compiled.points,
        tables=compiled.tables,
        layers=image_layers(config, way.network, tensors, compiled.spans, program, steps),
        input=replace(tensors[INPUT], tensor=network.input, layout=way.layout),
        outputs=placed_outputs(way.network, tensors),
        cycles=cycles(steps),
        outside=OutsideContent(content, size),
    )


def _regions(config: ArrayConfig, network: Network, compiled: Compiled, lines: int) -> tuple[dict[str, int], int]:
    """First beat of every region, each at the beginning of a page, and bytes of the whole."""
    page = BURST_BYTES * 8 // config.bus_bits
    segment = max(one.transfer.length for one in compiled.tape.transfers if one.region == "program")
    sizes = {
        "list": compiled.tape.list_beats(),
        "program": -(-lines // segment) * segment * bus_beats(config, Section.PROGRAM),
        "weight": len(compiled.weights.lines) * bus_beats(config, Section.WEIGHT),
        "channel": len(compiled.channels.lines) * bus_beats(config, Section.CHANNEL),
    }
    for name, tensor in network.tensors.items():
        if name in compiled.residence.outside:
            sizes[f"tensor {name}"] = tensor_lines(config, tensor.shape) * bus_beats(config, Section.FEATURE)
    regions, beat = {}, 0
    for name, count in sizes.items():
        regions[name] = beat
        beat += -(-count // page) * page
    return regions, beat * config.bus_bits // 8


def _content(config: ArrayConfig, compiled: Compiled, regions: dict[str, int], program: Sequence[Instruction]) -> bytes:
    entries = [
        replace(one.transfer, after=one.key[0], memory=regions[one.region] + one.transfer.memory)
        for one in compiled.tape.sorted()
    ]
    lines = {
        "program": (Section.PROGRAM, [instruction.encode(config) for instruction in program]),
        "weight": (Section.WEIGHT, compiled.weights.lines),
        "channel": (Section.CHANNEL, compiled.channels.lines),
    }
    beat = config.bus_bits // 8
    end = regions["channel"] + len(compiled.channels.lines) * bus_beats(config, Section.CHANNEL)
    content = np.zeros(end * beat, dtype=np.uint8)
    size = entry_beats(config) * beat
    for number, entry in enumerate([*entries, Transfer(kind=Section.END)]):
        bits = entry.encode(config).to_bytes(size, "little")
        content[number * size : (number + 1) * size] = np.frombuffer(bits, dtype=np.uint8)
    for name, (kind, some) in lines.items():
        write_lines(config, content, regions[name] * beat, kind, some)
    return content.tobytes()
