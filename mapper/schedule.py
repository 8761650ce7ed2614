"""A layer's passes in time: WINDOW, PASS and DRAIN instructions for its tiles and chunks.

Chunks are the outer loop and output tiles the inner one: windows change least often, and every pass brings its own tile
either way. Inside an output tile input groups come before kernel positions, so that what the previous layer wrote
last is read last.
"""

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from twofold.golden.config import ArrayConfig
from twofold.golden.isa import Drain, Instruction, Pass, Window
from twofold.golden.network import Layer
from twofold.golden.timing import Clock, Step
from twofold.mapper.chunks import Chunk
from twofold.mapper.tiles import Geometry, OutputTile, TilePass, reached


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
    """

    config: ArrayConfig
    places: Mapping[str, int]
    blocks: Mapping[tuple[int, ...], int]
    sets: Mapping[str, int]


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
    """

    clock: Clock
    window: Window | None = None
    writing: NDArray[np.int64] | None = None

    def copy(self) -> "State":
        """One that can go its own way."""
        return State(copy(self.clock), self.window, self.writing)


@dataclass
class Scheduler:
    """Writes the instructions of one layer.

    Parameters
    ----------
    layout
        Addresses.
    layer
        The layer.
    tiles, channels
        Its output tiles, and the first channel line of each.
    state
        Where the program stands; carried on.
    """

    layout: Layout
    layer: Layer
    tiles: Sequence[OutputTile]
    channels: Sequence[int]
    state: State
    program: list[Instruction] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)

    def run(self, chunks: Sequence[Chunk]) -> "Scheduler":
        """Schedule the layer, cut into these chunks."""
        for chunk in chunks:
            for tile, channel in zip(self.tiles, self.channels, strict=True):
                self._tile(chunk, tile)
                self._drain(chunk, tile, channel)
        return self

    def _emit(self, instruction: Instruction) -> None:
        self.program.append(instruction)
        self.steps.append(self.state.clock.step(instruction))

    def _tile(self, chunk: Chunk, tile: OutputTile) -> None:
        """All passes of an output tile, each column's first marked.

        Passes for more columns come first, so that a branch for some channels only finds them started.
        """
        passes = sorted(tile.passes, key=lambda one: -one.col_mask.bit_count())
        if len({one.col_mask for one in passes}) == 1:
            passes.sort(key=lambda one: self._window(chunk, one.geometry) != self.state.window)
        every = (1 << tile.columns) - 1
        started = 0
        for one in passes:
            fresh, old = one.col_mask & ~started, one.col_mask & started
            if fresh:
                self._pass(chunk, one, fresh, first=True)
            if old:
                self._pass(chunk, one, old, first=False)
            started |= one.col_mask
        if started != every:
            self._clear(chunk, every & ~started)

    def _window(self, chunk: Chunk, geometry: Geometry) -> Window:
        step_y, step_x = geometry.stride
        return Window(
            width=chunk.width,
            height=chunk.height,
            in_width=geometry.width,
            in_height=geometry.height,
            step_x=step_x,
            step_y=step_y,
            row_step=self._line(step_y * geometry.width),
        )

    def _line(self, number: int) -> int:
        """A feature line number or distance, modulo the address width."""
        return number & Pass.record(self.layout.config)["address"].high

    def _use_window(self, chunk: Chunk, geometry: Geometry) -> None:
        window = self._window(chunk, geometry)
        if window != self.state.window:
            self._emit(window)
            self.state.window = window

    def _pass(self, chunk: Chunk, one: TilePass, col_mask: int, *, first: bool) -> None:
        geometry = one.geometry
        y = chunk.y * geometry.stride[0] - geometry.padding[0] + one.tap[0] * geometry.dilation[0]
        x = chunk.x * geometry.stride[1] - geometry.padding[1] + one.tap[1] * geometry.dilation[1]
        plane = self.layout.places[geometry.source] + one.group * geometry.height * geometry.width
        wait = self._must_wait(chunk, geometry, plane, y, x)
        self._use_window(chunk, geometry)
        self._emit(
            Pass(
                address=self._line(plane + y * geometry.width + x),
                x=x,
                y=y,
                weights=self.layout.blocks[one.block],
                columns=len(one.block) - 1,
                set=self.layout.sets[one.point_set],
                shift=one.shift,
                signed=int(one.signed),
                first=int(first),
                maximum=int(one.maximum),
                wait=int(wait),
                row_mask=one.row_mask,
                col_mask=col_mask,
            )
        )
        if wait:
            self.state.writing = None

    def _must_wait(self, chunk: Chunk, geometry: Geometry, plane: int, y: int, x: int) -> bool:
        """Whether the pass reads a line that the last DRAIN may not have written yet."""
        writing = self.state.writing
        if writing is None or writing[-1] < plane or plane + geometry.height * geometry.width <= writing[0]:
            return False
        rows = y + np.arange(chunk.height) * geometry.stride[0]
        columns = x + np.arange(chunk.width) * geometry.stride[1]
        rows = rows[(rows >= 0) & (rows < geometry.height)]
        columns = columns[(columns >= 0) & (columns < geometry.width)]
        return bool(np.isin(plane + rows[:, None] * geometry.width + columns, writing).any())

    def _clear(self, chunk: Chunk, col_mask: int) -> None:
        """A pass without activations, for columns that no weight reaches."""
        window = self.state.window
        if window is None or (window.height, window.width) != (chunk.height, chunk.width):
            self._use_window(chunk, Geometry("", 1, 1, (1, 1), (0, 0), (1, 1)))
        weights = self.layout.blocks[negative_block(self.layout.config)]
        self._emit(Pass.zero(weights=weights, columns=col_mask.bit_length() - 1, first=1, col_mask=col_mask))

    def _drain(self, chunk: Chunk, tile: OutputTile, channel: int) -> None:
        config = self.layout.config
        _, height, width = self.layer.output.shape
        plane = height * width
        start = self.layout.places[self.layer.name] + chunk.y * width + chunk.x
        address = start + tile.start // config.rows * plane
        self._emit(
            Drain(
                address=address,
                row_step=self._line(width - chunk.width + 1),
                plane=self._line(plane),
                lane=tile.start % config.rows,
                groups=-(-tile.columns // config.requant_units) - 1,
                channels=channel,
                low=self.layer.low,
                high=self.layer.high,
            )
        )
        planes = np.arange((tile.start % config.rows + tile.columns - 1) // config.rows + 1) * plane
        lines = address + np.arange(chunk.height)[:, None] * width + np.arange(chunk.width)
        self.state.writing = (planes[:, None] + lines.reshape(-1)).reshape(-1)


def negative_block(config: ArrayConfig) -> tuple[int, ...]:
    """Weight lines of negative codes: without activations their sums are `idle_sum`, whatever the point set is."""
    fmt = config.fmt
    return (sum(fmt.point_count << (lane * fmt.code_bits) for lane in range(config.rows)),) * config.cols


def needs_clear(tile: OutputTile) -> bool:
    """Whether some column of an output tile has no pass at all."""
    return not reached(tile.passes, tile.columns).all()
