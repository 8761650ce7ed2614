"""From a quantized network to the memory image of one build."""

from collections import Counter
from dataclasses import dataclass, replace

from twofold.golden.config import ArrayConfig
from twofold.golden.image import Image, PlacedTensor
from twofold.golden.isa import End, Instruction, Output, Section
from twofold.golden.network import INPUT, Layer, Network, Pair
from twofold.golden.parts import Part
from twofold.golden.timing import Clock, cycles
from twofold.mapper.checks import FitError, check_memory, check_network
from twofold.mapper.chunks import choices, smallest
from twofold.mapper.contents import BlockStore, channel_block, point_lines, signed_tensors, table_lines
from twofold.mapper.folding import Stored, stored_ways
from twofold.mapper.image_layers import Span, image_layers, placed_outputs
from twofold.mapper.memory import allocate, feature_lines
from twofold.mapper.outside_image import outside_image
from twofold.mapper.schedule import Layout, Scheduler, State
from twofold.mapper.tiles import OutputTile, output_tiles


@dataclass(frozen=True)
class _Mapped:
    """A part of a layer with its tiles in the weight and channel memories.

    `layer` gives the part's positions alone; `size` is that of the whole map.
    """

    layer: Layer
    part: Part
    size: Pair
    tiles: tuple[OutputTile, ...]
    channels: tuple[int, ...]


def compile_network(network: Network, config: ArrayConfig) -> Image:
    """Map a network to a build.

    Each layer's chunks, and whether they or the output tiles are the outer loop, are chosen by their exact time among a
    few ways to cut it; if that program is too long, all layers take the fewest chunks and instructions. Of the ways to
    store the input (`mapper.folding`) it is the one whose readers are done earliest, among those that fit.

    Parameters
    ----------
    network
        The quantized network.
    config
        The build.

    Raises
    ------
    mapper.checks.FitError
        If the network needs more than the build has: which limit or memory, and by how much.
    ValueError
        If its words are made for another weight format.
    """
    check_network(config, network)
    ways = stored_ways(network, config.rows)
    if len(ways) > 1:
        ways.sort(key=lambda way: _time(config, way))
    errors = []
    for way in ways:
        try:
            return outside_image(config, network, way) if config.external else _compile(config, network, way)
        except FitError as error:
            errors.append(error)
    raise min(errors, key=lambda error: error.short)


def _time(config: ArrayConfig, way: Stored) -> tuple[int, int]:
    """When the layers are done that read the input, and those before them; for equals, their feature lines."""
    first = replace(way.network, layers=way.network.layers[: way.readers], heads=(), orders={})
    memories = _Memories(config, first)
    plan = _schedule(memories.layout, memories.mapped, fewest=False)
    return plan[-1].state.clock.idle, memories.used[Section.FEATURE]


def _compile(config: ArrayConfig, network: Network, way: Stored) -> Image:
    """The image of a network on one way to store its input."""
    memories = _Memories(config, way.network)
    plan = _schedule(memories.layout, memories.mapped, fewest=False)
    if _length(plan, network) > config.program_depth:
        plan = _schedule(memories.layout, memories.mapped, fewest=True)
    check_memory(config, network, memories.used | {Section.PROGRAM: _length(plan, network)})
    return _image(network, way, memories, plan)


class _Memories:
    """What the memories hold, programs aside.

    Attributes
    ----------
    layout
        Where it lies.
    mapped
        Every layer with its tiles.
    weight, channel, points, tables
        Lines.
    """

    def __init__(self, config: ArrayConfig, network: Network) -> None:
        sets, self.points = point_lines(config, network)
        tables, self.tables = table_lines(config, network)
        weight, channel = BlockStore(), BlockStore()
        self.mapped = []
        pieces = [(layer.output.shape[1:], *both) for layer in network.layers for both in layer.pieces]
        for size, part, piece in pieces:
            tiles = tuple(output_tiles(config, network, piece))
            for tile in tiles:
                weight.add_weights(config, tile)
            channels = tuple(channel.add(channel_block(config, piece, tile)) for tile in tiles)
            self.mapped.append(_Mapped(piece, part, size, tiles, channels))
        self.layout = Layout(config, allocate(config, network), weight.blocks, sets, signed_tensors(network), tables)
        self.weight, self.channel = tuple(weight.lines), tuple(channel.lines)
        self.used = {
            Section.FEATURE: feature_lines(config, network, self.layout.places),
            Section.WEIGHT: len(self.weight),
            Section.CHANNEL: len(self.channel),
        }


def _schedule(layout: Layout, mapped: list[_Mapped], *, fewest: bool) -> list[Scheduler]:
    """Instructions of every layer, each cut so that it is done earliest; an instruction more must save a cycle."""
    state = State(Clock(layout.config))
    plan = []
    for one in mapped:
        _, height, width = one.layer.output.shape
        cuts = choices(height, width, layout.config.acc_depth)
        if any(tile_pass.chain for tile in one.tiles for tile_pass in tile.passes):
            cuts = [cut for cut in cuts if smallest(cut) >= layout.config.min_pass]
        tries = [
            Scheduler(layout, one.layer, one.part, one.size, one.tiles, one.channels, state.copy()).run(
                cut, tiles_first=tiles_first
            )
            for cut in (cuts[:1] if fewest else cuts)
            for tiles_first in ((False, True) if len(cut) > 1 and len(one.tiles) > 1 else (False,))
        ]
        best = min(tries, key=lambda one: (len(one.program) if fewest else 0, one.state.clock.idle + len(one.program)))
        plan.append(best)
        state = best.state.copy()
    return plan


def _length(plan: list[Scheduler], network: Network) -> int:
    """Program lines, those of OUTPUT and END included."""
    return sum(len(part.program) for part in plan) + len(network.outputs) + 1


def _image(network: Network, way: Stored, memories: _Memories, plan: list[Scheduler]) -> Image:
    layout = memories.layout
    config = layout.config
    tensors = {name: PlacedTensor(tensor, layout.places[name]) for name, tensor in network.tensors.items()}
    program = [instruction for part in plan for instruction in part.program]
    steps = [step for part in plan for step in part.steps]
    spans, first = [], 0
    left = iter(plan)
    for layer in network.layers:
        parts = [next(left) for _ in layer.pieces]
        last = first + sum(len(part.program) for part in parts) - 1
        spans.append(Span(first, last, sum((part.occupied for part in parts), start=Counter[str]())))
        first = last + 1
    layers = image_layers(config, network, tensors, spans, program, steps)
    outputs = placed_outputs(network, tensors)
    clock = plan[-1].state.clock
    tail: list[Instruction] = [Output(address=one.address, count=one.lines(config) - 1) for one in outputs]
    tail.append(End())
    return Image(
        config=config,
        network=network.name,
        program=tuple(instruction.encode(config) for instruction in program + tail),
        weight=memories.weight,
        channel=memories.channel,
        points=memories.points,
        tables=memories.tables,
        layers=layers,
        input=replace(tensors[INPUT], layout=way.layout),
        outputs=outputs,
        cycles=sum(layer.cycles for layer in layers) + cycles([clock.step(one) for one in tail]),
    )
