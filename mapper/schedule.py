"""A layer's passes in time: WINDOW, PASS and DRAIN instructions for its tiles and chunks.

With chunks as the outer loop windows change least often; with output tiles as the outer one a chunk begins with the
tile that the chunk before ended with, which is not loaded again. Inside an output tile input groups come before kernel
positions, so that what the previous layer wrote last is read last, and passes with one tile of words follow each other.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product

import numpy as np
from numpy.typing import NDArray

from twofold.golden.config import CHAIN, ArrayConfig
from twofold.golden.isa import Drain, Instruction, Pass, Window
from twofold.golden.network import Layer, Pair
from twofold.golden.parts import Part
from twofold.golden.timing import Clock, Step
from twofold.mapper.chunks import Chunk
from twofold.mapper.tiles import Geometry, OutputTile, TilePass, reached

#: Codes of a weight line, and the number of the point set that they are decoded with.
Words = tuple[int, int]


@dataclass(frozen=True)
class Layout:
    """What the instructions of a network refer to.

    Parameters
    ----------
    config
        The build.
    places
        First feature line of every tensor.
    blocks
        First weight line of every block.
    sets
        Number of every point set.
    signed
        Names of the tensors whose activations are two's complement.
    tables
        Number of the table of every layer that has one.
    planes
        Lines from one group of `rows` channels to the next, of tensors of which some rows only are there; of others
        it is all their positions.
    skips
        First feature line of skips that lie somewhere else than the tensors that they are.
    """

    config: ArrayConfig
    places: Mapping[str, int]
    blocks: Mapping[tuple[int, ...], int]
    sets: Mapping[str, int]
    signed: frozenset[str] = frozenset()
    tables: Mapping[str, int] = field(default_factory=dict)
    planes: Mapping[str, int] = field(default_factory=dict)
    skips: Mapping[str, int] = field(default_factory=dict)

    def plane(self, name: str, height: int, width: int) -> int:
        """Lines from one channel group of a tensor of this size to the next."""
        return self.planes.get(name, height * width)

    @cached_property
    def last_line(self) -> int:
        """Largest number of a feature line in an instruction."""
        return Pass.record(self.config)["address"].high


@dataclass
class State:
    """What is known at some point of the program.

    Attributes
    ----------
    clock
        The time.
    window
        The last WINDOW.
    writing
        Feature lines that the last DRAIN may still be writing; None once a pass has waited for it.
    held
        What each group of `load_columns` columns was loaded with last: codes and point set; None before that.
    """

    clock: Clock
    window: Window | None = None
    writing: NDArray[np.int64] | None = None
    held: tuple[Words | None, ...] = ()

    def copy(self) -> "State":
        """One that can go its own way."""
        return State(copy(self.clock), self.window, self.writing, self.held)

    def holds(self, words: tuple[Words, ...]) -> bool:
        """Whether the first groups of the array's columns hold these words."""
        return self.held[: len(words)] == words


@dataclass
class Scheduler:
    """Writes the instructions of one layer, or of a part of it.

    Parameters
    ----------
    layout
        Addresses.
    layer
        The layer; of several parts, that of this one's positions.
    part, size
        Where its positions are in the whole map, and (height, width) of that.
    tiles, channels
        Its output tiles, and the first channel line of each.
    state
        Where the program stands; carried on.

    Attributes
    ----------
    occupied
        Cycles for which the passes hold the array, by their purpose.
    program, steps
        The instructions and their times.
    """

    layout: Layout
    layer: Layer
    part: Part
    size: Pair
    tiles: Sequence[OutputTile]
    channels: Sequence[int]
    state: State
    occupied: Counter[str] = field(default_factory=Counter)
    program: list[Instruction] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    _known: dict[tuple[tuple[int, ...], str], tuple[Words, ...]] = field(default_factory=dict)
    _windows: dict[tuple[int, int, Geometry], Window] = field(default_factory=dict)

    def run(self, chunks: Sequence[Chunk], *, tiles_first: bool = False) -> "Scheduler":
        """Schedule the layer, cut into these chunks; `tiles_first`: all chunks of an output tile, then the next."""
        outputs = list(zip(self.tiles, self.channels, strict=True))
        order = [(chunk, *output) for chunk, output in product(chunks, outputs)]
        if tiles_first:
            order = [(chunk, *output) for output, chunk in product(outputs, chunks)]
        for chunk, tile, channel in order:
            self._tile(chunk, tile)
            self._drain(chunk, tile, channel)
        return self

    def _emit(self, instruction: Instruction) -> None:
        self.program.append(instruction)
        self.steps.append(self.state.clock.step(instruction))

    def _tile(self, chunk: Chunk, tile: OutputTile) -> None:
        """All passes of an output tile, each column's first marked."""
        every = (1 << tile.columns) - 1
        started = 0
        for one in self._order(chunk, tile):
            fresh, old = one.col_mask & ~started, one.col_mask & started
            if fresh:
                self._pass(chunk, one, fresh, first=True)
            if old:
                self._pass(chunk, one, old, first=False)
            started |= one.col_mask
        if started != every:
            self._clear(chunk, every & ~started)

    def _order(self, chunk: Chunk, tile: OutputTile) -> list[TilePass]:
        """Passes for more columns come first, so that a branch for some channels only finds them started.

        Among those of as many columns what must not wait for the requantiser comes first, then what the array holds.
        Equal tiles follow each other, but windows change for a branch at a time only.
        """
        alike = len({one.col_mask for one in tile.passes}) == 1
        branches: dict[Geometry, int] = {}
        blocks: dict[tuple[Words, ...], int] = {}
        keys = {}
        for number, one in enumerate(tile.passes):
            words, window = self._words(one), self._window(chunk, one.geometry)
            keys[number] = (
                -one.col_mask.bit_count(),
                self._must_wait(chunk, one),
                not self.state.holds(words),
                alike and window != self.state.window,
                branches.setdefault(one.geometry, number),
                blocks.setdefault(words, number),
            )
        return [tile.passes[number] for number in sorted(keys, key=keys.__getitem__)]

    def _words(self, one: TilePass) -> tuple[Words, ...]:
        """What the array holds for a pass; made once for each of the tiles."""
        key = (one.block, one.point_set)
        if key not in self._known:
            point_set = self.layout.sets[one.point_set]
            self._known[key] = tuple((codes, point_set) for codes in one.block)
        return self._known[key]

    def _window(self, chunk: Chunk, geometry: Geometry) -> Window:
        key = (chunk.width, chunk.height, geometry)
        if key not in self._windows:
            self._windows[key] = self._new_window(chunk, geometry)
        return self._windows[key]

    def _new_window(self, chunk: Chunk, geometry: Geometry) -> Window:
        step_y, step_x = geometry.stride
        return Window(
            width=chunk.width,
            height=chunk.height,
            in_width=geometry.width,
            in_height=geometry.height,
            step_x=step_x,
            step_y=step_y,
            row_step=self._line(step_y * geometry.width),
            out_step=self.part.step[1],
        )

    def _line(self, number: int) -> int:
        """A feature line number or distance, modulo the address width."""
        return number & self.layout.last_line

    def _use_window(self, chunk: Chunk, geometry: Geometry) -> None:
        window = self._window(chunk, geometry)
        if window != self.state.window:
            self._emit(window)
            self.state.window = window

    def _pass(self, chunk: Chunk, one: TilePass, col_mask: int, *, first: bool) -> None:
        geometry = one.geometry
        y, x = _corner(chunk, one)
        wait = self._must_wait(chunk, one)
        self._use_window(chunk, geometry)
        self._emit(
            Pass(
                address=self._line(self._plane(one) + y * geometry.width + x),
                x=x,
                y=y,
                **self._load(self._words(one), self.layout.blocks[one.block]),
                shift=one.shift,
                signed=int(one.signed),
                drop=one.drop,
                clip=one.clip,
                first=int(first),
                chain=int(one.chain),
                maximum=int(one.maximum),
                wait=int(wait),
                row_mask=one.row_mask,
                col_mask=col_mask,
            )
        )
        self.occupied[one.purpose] += max(chunk.height * chunk.width, self.layout.config.min_pass)
        if wait:
            self.state.writing = None

    def _load(self, words: tuple[Words, ...], weights: int) -> dict[str, int]:
        """What a pass says of its tile: that the array holds it, or on which weight line it begins."""
        if self.state.holds(words):
            return {"weights": 0, "groups": 0, "set": 0, "kept": 1}
        self.state.held = words + self.state.held[len(words) :]
        return {"weights": weights, "groups": len(words) - 1, "set": words[0][1], "kept": 0}

    def _plane(self, one: TilePass) -> int:
        """First feature line of the channels that a pass reads."""
        geometry, layout = one.geometry, self.layout
        return layout.places[geometry.source] + one.group * layout.plane(
            geometry.source, geometry.height, geometry.width
        )

    def _must_wait(self, chunk: Chunk, one: TilePass) -> bool:
        """Whether the pass reads a line that the last DRAIN may not have written yet."""
        writing, geometry, plane = self.state.writing, one.geometry, self._plane(one)
        if writing is None or writing[-1] < plane or plane + geometry.height * geometry.width <= writing[0]:
            return False
        y, x = _corner(chunk, one)
        rows = y + np.arange(chunk.height) * geometry.stride[0]
        columns = x + np.arange(chunk.width) * geometry.stride[1]
        if one.chain:
            columns = np.arange(x, columns[-1] + CHAIN)
        rows = rows[(rows >= 0) & (rows < geometry.height)]
        columns = columns[(columns >= 0) & (columns < geometry.width)]
        return bool(np.isin(plane + rows[:, None] * geometry.width + columns, writing).any())

    def _clear(self, chunk: Chunk, col_mask: int) -> None:
        """A pass without activations, for columns that no weight reaches."""
        window = self.state.window
        wanted = (chunk.height, chunk.width, self.part.step[1])
        if window is None or (window.height, window.width, window.out_step) != wanted:
            self._use_window(chunk, Geometry("", 1, 1, (1, 1), (0, 0), (1, 1)))
        config = self.layout.config
        block, groups = negative_block(config), -(-col_mask.bit_length() // config.load_columns)
        words = tuple((codes, 0) for codes in block[:groups])
        self._emit(Pass.zero(**self._load(words, self.layout.blocks[block]), first=1, col_mask=col_mask))

    def _drain(self, chunk: Chunk, tile: OutputTile, channel: int) -> None:
        config = self.layout.config
        (height, width), (down, across) = self.size, self.part.step
        plane = self.layout.plane(self.layer.name, height, width)
        y, x = self.part.offset[0] + chunk.y * down, self.part.offset[1] + chunk.x * across
        start = self.layout.places[self.layer.name] + y * width + x
        address = start + tile.start // config.rows * plane
        self._emit(
            Drain(
                address=address,
                row_step=self._line(down * width - across * (chunk.width - 1)),
                plane=self._line(plane),
                lane=tile.start % config.rows,
                groups=-(-tile.columns // config.requant_units) - 1,
                channels=channel,
                low=self.layer.low,
                high=self.layer.high,
                **self._skip(),
                **self._table(),
            )
        )
        planes = np.arange((tile.start % config.rows + tile.columns - 1) // config.rows + 1) * plane
        lines = address + np.arange(chunk.height)[:, None] * down * width + np.arange(chunk.width) * across
        self.state.writing = (planes[:, None] + lines.reshape(-1)).reshape(-1)

    def _table(self) -> dict[str, int]:
        """What a drain says of its table."""
        tables = self.layout.tables
        return {"tabled": 1, "table": tables[self.layer.name]} if self.layer.name in tables else {}

    def _skip(self) -> dict[str, int]:
        """What a drain says of its skip. It lies as what is written does, and nothing that may still be written."""
        skip, layout = self.layer.skip, self.layout
        if skip is None:
            return {}
        place = layout.skips.get(skip.source, layout.places.get(skip.source, 0))
        return {
            "skip": 1,
            "skip_offset": self._line(place - layout.places[self.layer.name]),
            "skip_shift": skip.shift,
            "skip_signed": int(skip.source in layout.signed),
        }


def _corner(chunk: Chunk, one: TilePass) -> tuple[int, int]:
    """Input coordinates (y, x) that a pass reads for the chunk's first position."""
    geometry = one.geometry
    start = (chunk.y, chunk.x)
    y, x = (
        start[axis] * geometry.stride[axis] - geometry.padding[axis] + one.tap[axis] * geometry.dilation[axis]
        for axis in (0, 1)
    )
    return y, x


def negative_block(config: ArrayConfig) -> tuple[int, ...]:
    """Weight lines of negative codes: without activations their sums are `idle_sum`, whatever the point set is."""
    fmt, lanes = config.fmt, config.load_columns * config.rows
    return (sum(fmt.point_count << (lane * fmt.code_bits) for lane in range(lanes)),) * config.load_groups


def needs_clear(tile: OutputTile) -> bool:
    """Whether some column of an output tile has no pass at all."""
    return not reached(tile.passes, tile.columns).all()
