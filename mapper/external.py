"""From a quantized network to the memory image of a build with external memory.

Layers are computed band of rows by band of rows where a tensor lies outside. A band's output tiles come one after the
other, each with all chunks of the band, so that a tile's weights come once a band, or once at all where the layer's
weights fit on the chip together.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from twofold.golden.config import ArrayConfig
from twofold.golden.isa import End, Instruction, Output, Section
from twofold.golden.network import Layer, Network
from twofold.golden.parts import Part
from twofold.golden.timing import Clock
from twofold.golden.transfers import Transfer, bus_beats
from twofold.mapper.bands import RowRange, Slab, band_chunks, planes, slab_lines, slabs
from twofold.mapper.chunks import Chunk
from twofold.mapper.contents import BlockStore, channel_block, point_lines, signed_tensors, table_lines
from twofold.mapper.hazards import NONE, Key
from twofold.mapper.image_layers import Span
from twofold.mapper.memory import tensor_lines
from twofold.mapper.residence import Area, Residence, reside
from twofold.mapper.ring import Ring
from twofold.mapper.schedule import Layout, Scheduler, State
from twofold.mapper.tape import Tape
from twofold.mapper.tiles import OutputTile, output_tiles


class _BandScheduler(Scheduler):
    """Writes one output tile of one chunk at a time, to a tape."""

    tape: Tape

    def tile(self, chunk: Chunk, tile: OutputTile, channel: int) -> None:
        self._tile(chunk, tile)
        self._drain(chunk, tile, channel)

    def _emit(self, instruction: Instruction) -> None:
        self.tape.emit(instruction)


@dataclass
class Compiled:
    """A program with its transfers, and what they refer to.

    Attributes
    ----------
    tape, weights, channels
        The program, and the lines that come from outside.
    residence, points, tables
        Where tensors lie, and the lines of the two memories that the host loads.
    spans
        Where each layer is in the program.
    """

    tape: Tape
    weights: Ring
    channels: Ring
    residence: Residence
    points: tuple[int, ...]
    tables: tuple[int, ...]
    spans: list[Span] = field(default_factory=list)


def compile_outside(config: ArrayConfig, network: Network) -> Compiled:
    """The program and the transfer list of a network, whose input is stored as the network has it.

    Raises
    ------
    FitError
        If some layer does not fit the chip's memories in bands, naming the layer, the key and the value.
    """
    sets, points = point_lines(config, network)
    numbers, tables = table_lines(config, network)
    residence = reside(config, network)
    tape = Tape(config)
    compiled = Compiled(tape, Ring(tape, Section.WEIGHT), Ring(tape, Section.CHANNEL), residence, points, tables)
    layout = Layout(config, residence.places, {}, sets, signed_tensors(network), numbers)
    state = State(Clock(config))
    stored = _Stored()
    for layer in network.layers:
        compiled.spans.append(_LayerWriter(network, compiled, layout, state, stored, layer).run())
    # While lines are sent no cycle is counted, so nothing else may be under way.
    tape.sync(max(one.key for one in tape.transfers))
    for layer in network.outputs:
        if layer.name not in residence.outside:
            count = tensor_lines(config, layer.output.shape)
            tape.emit(Output(address=residence.places[layer.name], count=count - 1))
    tape.emit(End())
    return compiled


class _Stored:
    """Which rows of tensors outside were stored, and when."""

    def __init__(self) -> None:
        self.rows: dict[str, list[tuple[RowRange, int]]] = {}

    def add(self, name: str, rows: RowRange, after: int) -> None:
        """Rows are stored when so many DRAINs are done."""
        self.rows.setdefault(name, []).append((rows, after))

    def before(self, name: str, rows: RowRange) -> int:
        """DRAINs that a transfer must wait for that reads rows: it then stands behind those that store them."""
        known = self.rows.get(name, [])
        return max((after for one, after in known if one.begin < rows.end and rows.begin < one.end), default=0)


class _LayerWriter:
    """Writes a layer."""

    def __init__(
        self,
        network: Network,
        compiled: Compiled,
        layout: Layout,
        state: State,
        stored: _Stored,
        layer: Layer,
    ) -> None:
        self.network, self.compiled, self.layout = network, compiled, layout
        self.state, self.stored, self.layer = state, stored, layer
        self.tape = compiled.tape
        self.config = layout.config
        self.occupied: Counter[str] = Counter()
        self.pieces = [(part, piece, self._tiles(piece, number)) for number, (part, piece) in enumerate(layer.pieces)]

    def _tiles(self, piece: Layer, number: int) -> "list[_Tile]":
        owner = (self.layer.name, number)
        return [_Tile(self.config, piece, owner, tile) for tile in output_tiles(self.config, self.network, piece)]

    def run(self) -> Span:
        """All bands of the layer."""
        first, area = len(self.tape.program), self.compiled.residence.areas.get(self.layer.name)
        for number, band in enumerate(self._bands(area)):
            self._band(band, area, number)
        return Span(first, len(self.tape.program) - 1, self.occupied)

    def _bands(self, area: Area | None) -> Sequence[RowRange]:
        return (RowRange(0, self.layer.output.shape[1]),) if area is None else area.bands

    def _band(self, band: RowRange, area: Area | None, number: int) -> None:
        outside = self.compiled.residence.outside
        places: dict[Slab, int] = {}
        line = 0 if area is None else area.begin + number % 2 * area.half
        for slab in slabs(self.network, self.layer, outside, band):
            places[slab] = line
            line += slab_lines(self.config, self.network, slab)
            if slab.role != "output":
                self._move(slab, places[slab], store=False)
        layout = self._layout(places)
        for part, piece, tiles in self.pieces:
            chunks = band_chunks(part, piece, band, self.config.acc_depth)
            for tile in tiles if chunks else ():
                self._tile(layout, places, (part, piece), tile, chunks)
        for slab, place in places.items():
            if slab.role == "output":
                self.stored.add(slab.name, slab.rows, self._move(slab, place, store=True)[0])

    def _layout(self, places: Mapping[Slab, int]) -> Layout:
        """The network's layout with the slabs in it."""
        # Of a source that has no row in the band the windows see padding only, which is read from no line.
        lines, plane, skips = dict.fromkeys(self.layer.sources, 0) | dict(self.layout.places), {}, {}
        for slab, place in places.items():
            width = self.network.tensors[slab.name].shape[2]
            first = place - slab.rows.begin * width
            if slab.role == "skip":
                skips[slab.name] = first
            else:
                lines[slab.name] = first
                plane[slab.name] = slab.rows.height * width
        return replace(self.layout, places=lines, planes=plane, skips=skips)

    def _move(self, slab: Slab, place: int, *, store: bool) -> Key:
        """Ask for a slab's transfer."""
        channels, height, width = self.network.tensors[slab.name].shape
        beats = bus_beats(self.config, Section.FEATURE)
        transfer = Transfer(
            kind=Section.FEATURE,
            store=int(store),
            memory=slab.rows.begin * width * beats,
            memory_step=height * width * beats,
            line=place,
            line_step=slab.rows.height * width,
            rows=planes(self.config, channels),
            length=slab.rows.height * width,
        )
        least = 0 if store else self.stored.before(slab.name, slab.rows)
        return self.tape.transfer(f"tensor {slab.name}", transfer, least)

    def _tile(
        self,
        layout: Layout,
        places: Mapping[Slab, int],
        one: tuple[Part, Layer],
        tile: "_Tile",
        chunks: Sequence[Chunk],
    ) -> None:
        """All chunks of an output tile in a band."""
        part, piece = one
        where, size = f"Layer {self.layer.name!r}", self.layer.output.shape[1:]
        scheduler = _BandScheduler(layout, piece, part, size, (), (), self.state, occupied=self.occupied)
        scheduler.tape = self.tape
        for chunk in chunks:
            # Each chunk ends with a DRAIN: what it needs must stay until then.
            weight, fetched = self.compiled.weights.hold(tile.name, tile.weights, where)
            channel, known = self.compiled.channels.hold(tile.name, tile.channels, where)
            self.tape.sync(max(fetched, known, *self._used(places)))
            scheduler.layout = replace(layout, blocks={block: weight + first for block, first in tile.blocks.items()})
            scheduler.tile(chunk, tile.tile, channel)

    def _used(self, places: Mapping[Slab, int]) -> Iterator[Key]:
        """The transfers of the feature lines that the next chunk touches."""
        hazards, residence = self.tape.memories[Section.FEATURE], self.compiled.residence
        yield NONE
        for slab, place in places.items():
            yield hazards.use(place, place + slab_lines(self.config, self.network, slab), self.tape.released)
        for name in (self.layer.name, *self.layer.sources):
            if name not in residence.outside:
                place = residence.places[name]
                lines = tensor_lines(self.config, self.network.tensors[name].shape)
                yield hazards.use(place, place + lines, self.tape.released)


class _Tile:
    """An output tile with its lines in the weight and channel memories, the same in every band.

    `blocks`: the first line of each block among `weights`.
    """

    def __init__(self, config: ArrayConfig, piece: Layer, owner: tuple[str, int], tile: OutputTile) -> None:
        store = BlockStore()
        store.add_weights(config, tile)
        self.name, self.tile = (*owner, tile.start), tile
        self.blocks, self.weights = store.blocks, tuple(store.lines)
        self.channels = channel_block(config, piece, tile)
