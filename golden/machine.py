"""The pass-level model of the machine: it executes a program line by line, as `docs/machine.md` says.

Every PASS and DRAIN is one NumPy operation over all positions of its chunk; there are no cycles here (`golden.timing`
has them) and no streams but whole frames.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count

import numpy as np
from numpy.typing import NDArray

from twofold.golden.config import CHAIN, ArrayConfig
from twofold.golden.frame import FrameError, SectionLines, parse, split
from twofold.golden.image import Image, PlacedTensor, input_frame, raw_tensor, read_outputs
from twofold.golden.isa import (
    Drain,
    End,
    Instruction,
    Output,
    Pass,
    Section,
    Sync,
    Window,
    decode,
    line_beats,
)
from twofold.golden.memories import Memories, lines_of
from twofold.golden.outside import DeadlockError, Outside, transfer_clock
from twofold.golden.outside_tensors import read_outside, write_input
from twofold.golden.products import product_bases
from twofold.golden.registers import Error
from twofold.golden.requantise import requantised, wrap
from twofold.golden.timing import Step, cycles, timing

Array = NDArray[np.int64]


class StoppedError(RuntimeError):
    """The machine stopped.

    Parameters
    ----------
    code
        What the status register would show. The model also says RANGE where a program reaches beyond a memory,
        which the machine does not check.
    message
        What is wrong, for a reader.
    """

    def __init__(self, code: Error, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Run:
    """What an inference did.

    Parameters
    ----------
    frames
        Beats of each frame of the output stream.
    steps
        Times of every instruction executed.
    cycles, passes
        What the machine's registers show.
    """

    frames: tuple[tuple[int, ...], ...]
    steps: tuple[Step, ...]
    cycles: int
    passes: int


class Machine:
    """A machine with its memories, as it comes out of reset: all zeros.

    Memories and accumulators live on from one inference to the next, as in hardware.

    Parameters
    ----------
    config
        The build.

    eager
        Transfers with the memory outside are done as soon as they may be; else as late as the program allows. What a
        correct program computes is the same.

    Attributes
    ----------
    memories, outside
        What is on the chip and in the memory outside.
    loaded, error
        Bits of the status register.
    """

    def __init__(self, config: ArrayConfig, *, eager: bool = False) -> None:
        self.config = config
        self.eager = eager
        self.memories = Memories(config)
        self.outside = Outside(self.memories)
        self._banks = np.zeros((2, config.acc_depth, config.cols), dtype=np.int64)
        self._bank = 0
        self._words = np.zeros((config.rows, config.cols), dtype=np.int64)
        self._bases = np.zeros(config.cols, dtype=np.int64)
        self._delays = np.array([[config.delay(row, col) for col in range(config.cols)] for row in range(config.rows)])
        self._window: Window | None = None
        self._mask = Pass.record(config)["address"].high
        self.loaded = False
        self.error = Error.NONE

    def write(self, beats: Sequence[int]) -> None:
        """Take a frame of the input stream.

        Raises
        ------
        FrameError
            If the machine refuses it; `error` then holds the code, and what came before the error is written.
        """
        try:
            sections = parse(self.config, beats)
        except FrameError as error:
            self._write_sections(error.sections)
            if any(section.kind is not Section.FEATURE for section in error.sections):
                self.loaded = False
            self.error = error.code
            raise
        self._write_sections(sections)
        self.error = Error.NONE
        if any(section.kind is Section.PROGRAM for section in sections):
            self.loaded = True

    def run(self, after: Callable[[int], None] | None = None) -> Run:
        """Run an inference.

        Parameters
        ----------
        after
            Called after each instruction with the number of its line.

        Raises
        ------
        StoppedError
            If nothing is loaded, an instruction is illegal or reaches beyond a memory.
        """
        self.error = Error.NONE
        if not self.loaded:
            raise self._stop(Error.NOT_LOADED, "Machine must be loaded before it is started")
        self._bank = 0
        frames: list[tuple[int, ...]] = []
        program: list[Instruction] = []
        self._move(0, self.outside.begin)
        for number, line in self._lines():
            try:
                instruction = decode(self.config, line)
            except ValueError as error:
                raise self._stop(Error.INSTRUCTION, f"Line {number}: {error}") from error
            program.append(instruction)
            if isinstance(instruction, Window):
                self._window = instruction
            elif isinstance(instruction, Pass):
                self._pass(number, instruction)
            elif isinstance(instruction, Drain):
                self._drain(number, instruction)
            elif isinstance(instruction, Output):
                frames.append(self._output(number, instruction))
            elif isinstance(instruction, Sync):
                self._move(number, partial(self.outside.advance, instruction.need))
            if after is not None:
                after(number)
            if self.eager:
                self._move(number, self.outside.advance)
            if isinstance(instruction, End):
                self._move(number, self.outside.finish)
                clock = transfer_clock(self.config, self.outside.memory) if self.config.external else None
                steps = timing(self.config, program, clock)
                passes = sum(isinstance(done, Pass) for done in program)
                return Run(tuple(frames), steps, cycles(steps), passes)
        raise self._stop(Error.INSTRUCTION, f"Program must end within {len(self.memories.program)} lines")

    def _lines(self) -> Iterator[tuple[int, int]]:
        """Program lines as they are executed, numbered; a program from outside runs round its memory."""
        if not self.config.external:
            yield from enumerate(self.memories.program)
            return
        for number in count():
            yield number, self.memories.program[number % self.config.program_depth]

    def _move(self, number: int, step: Callable[[], None]) -> None:
        """A step of the transfers with the memory outside, in builds with one."""
        if not self.config.external:
            return
        try:
            step()
        except (DeadlockError, ValueError) as error:
            code = Error.INSTRUCTION if isinstance(error, DeadlockError) else Error.RANGE
            raise self._stop(code, f"Line {number}: {error}") from error

    def read(self, placed: PlacedTensor) -> Array:
        """What feature memory holds now where a tensor is placed, a folded input as it is stored: int64, (C, H, W)."""
        if placed.outside:
            return read_outside(self.config, self.outside.memory, placed)
        lanes = self.memories.feature[placed.address : placed.address + placed.lines(self.config)].copy()
        return raw_tensor(self.config, lanes, placed.stored)

    def _stop(self, code: Error, message: str) -> StoppedError:
        self.error = code
        return StoppedError(code, message)

    def _write_sections(self, sections: Sequence[SectionLines]) -> None:
        for kind, address, lines in sections:
            self.memories.write_lines(kind, address, lines)

    def _chunk(self, number: int) -> Window:
        """The chunk of positions that the last WINDOW stands for."""
        count = 0 if self._window is None else self._window.positions
        if self._window is None or not 1 <= count <= self.config.acc_depth:
            message = f"Line {number}: chunk must be 1 to {self.config.acc_depth} positions, not {count!r}"
            raise self._stop(Error.RANGE, message)
        return self._window

    def _check(self, number: int, memory: str, last: int, depth: int) -> None:
        if last >= depth:
            raise self._stop(Error.RANGE, f"Line {number}: {memory} line must be below {depth}, not {last!r}")

    def _pass(self, number: int, tile: Pass) -> None:
        config = self.config
        if not tile.kept:
            self._load(number, tile)
        sums, inside = self._sums(number, tile)
        products = np.left_shift(sums, tile.shift)
        accumulators = self._banks[self._bank, : len(sums)]
        old = accumulators
        if tile.first:
            old = np.full_like(old, -(1 << (config.acc_width - 1)) if tile.maximum else 0)
        if tile.maximum:
            result = np.where(inside[:, None], np.maximum(old, wrap(products, config.acc_width)), old)
        else:
            result = wrap(old + products, config.acc_width)
        chosen = np.array([tile.col_mask >> column & 1 for column in range(config.cols)], dtype=bool)
        accumulators[:, chosen] = result[:, chosen]

    def _load(self, number: int, tile: Pass) -> None:
        groups, values = tile.groups + 1, self.memories.values[tile.set]
        self._check(number, "weight", tile.weights + groups - 1, self.config.weight_depth)
        codes = self.memories.weight[tile.weights : tile.weights + groups].reshape(-1, self.config.rows).T
        columns = codes.shape[1]
        self._words[:, :columns] = values[codes]
        self._bases[:columns] = product_bases(self.config, values)[codes].sum(axis=0)

    def _sums(self, number: int, tile: Pass) -> tuple[Array, NDArray[np.bool_]]:
        """Column sums of every position, shape (P, cols), and which positions are in bounds."""
        config = self.config
        # Exact: no column sum comes near 2**53.
        if not tile.chain:
            acts, inside = self._activations(number, tile, 0)
            return (acts.astype(np.float64) @ self._words).astype(np.int64) + self._bases, inside
        window = self._chunk(number)
        if window.step_x < 1 or window.positions < config.min_pass:
            given = f"{window.positions} positions, {window.step_x} apart"
            least = f"at least {config.min_pass} positions, at least 1 apart"
            raise self._stop(Error.RANGE, f"Line {number}: chunk of a chain pass must be {least}, not {given}")
        sums = self._bases.astype(np.float64)
        for late in range(CHAIN):
            acts, inside = self._activations(number, tile, late)
            sums = sums + np.roll(acts, late, axis=1).astype(np.float64) @ np.where(
                self._delays == late, self._words, 0
            )
            if late == 0:
                complete = inside
        return sums.astype(np.int64), complete

    def _activations(self, number: int, tile: Pass, late: int) -> tuple[Array, NDArray[np.bool_]]:
        """The array's operands for every position, shape (P, rows), and which positions are in bounds.

        In a chain pass those that stand when a position is complete, or `late` positions before.
        """
        config, window = self.config, self._chunk(number)
        i, j = np.divmod(np.arange(window.positions), window.width)
        columns = j * window.step_x + (CHAIN - 1 - late if tile.chain else 0)
        lines = (tile.address + i * window.row_step + columns) & self._mask
        y = tile.y + i * window.step_y
        x = tile.x + columns
        inside = (y >= 0) & (y < window.in_height) & (x >= 0) & (x < window.in_width)
        lines = np.where(inside, lines, 0)
        self._check(number, "feature", int(lines.max()), config.feature_depth)
        acts = self.memories.feature[lines]
        if tile.signed:
            acts = acts - ((acts >> (config.act_bits - 1)) << config.act_bits)
        if tile.drop or tile.clip:
            most = 1 << (config.act_bits - tile.signed - tile.clip)
            acts = np.clip(acts, -most if tile.signed else 0, most - 1) & -(1 << tile.drop)
        lanes = tile.row_mask >> np.arange(config.rows, dtype=np.uint64) & 1
        offset = config.operand_offset if tile.signed else 0
        return np.where(inside[:, None] & (lanes == 1), acts, 0) + offset, inside

    def _drain(self, number: int, drain: Drain) -> None:
        config, window = self.config, self._chunk(number)
        width, height = window.width, window.height
        groups, units = drain.groups + 1, config.requant_units
        self._check(number, "channel", drain.channels + groups - 1, config.channel_depth)
        lines = self.memories.channel[drain.channels : drain.channels + groups]
        channels = lines.transpose(1, 0, 2).reshape(3, -1)
        i, j = np.divmod(np.arange(width * height), width)
        place = drain.lane + np.arange(groups * units)
        row = drain.address + i * ((width - 1) * window.out_step + drain.row_step) + j * window.out_step
        target = (row[:, None] + place // config.rows * drain.plane) & self._mask
        self._check(number, "feature", int(target.max()), config.feature_depth)
        skip = None
        if drain.skip:
            source = (target + drain.skip_offset) & self._mask
            self._check(number, "feature", int(source.max()), config.feature_depth)
            skip = self.memories.feature[source, place % config.rows]
        accumulators = self._banks[self._bank, : width * height, : groups * units]
        if drain.tabled:
            self._check(number, "table", (drain.table + 1 << config.table_bits) - 1, config.table_lines)
        result = requantised(config, drain, accumulators, channels, skip, self.memories.tables)
        self.memories.feature[target, place % config.rows] = result
        self._bank ^= 1
        self.outside.drained += 1

    def _output(self, number: int, output: Output) -> tuple[int, ...]:
        config = self.config
        self._check(number, "feature", output.address + output.count, config.feature_depth)
        lanes = self.memories.feature[output.address : output.address + output.count + 1]
        width = line_beats(config, Section.FEATURE)
        return tuple(beat for line in lines_of(lanes, config.act_bits) for beat in split(line, width))


@dataclass(frozen=True)
class Execution:
    """What an image makes of an input.

    Parameters
    ----------
    tensors : dict name -> int64, shape (C, H, W)
        Every layer's output, read from feature memory when the layer's last DRAIN was done.
    outputs
        The output tensors as a user gets them (`golden.image.read_outputs`), read from the output stream.
    run
        Frames, times, cycles and passes.
    """

    tensors: dict[str, Array]
    outputs: tuple[Array, ...]
    run: Run

    @property
    def output(self) -> Array:
        """The only output, or the first of several."""
        return self.outputs[0]


def execute(image: Image, x: NDArray[np.integer], machine: Machine | None = None) -> Execution:
    """Load an image and run it on one input.

    Parameters
    ----------
    image
        The image.
    x : integers, shape (C, H, W)
        Input activations.
    machine
        A machine to run on, as earlier inferences have left it; by default one out of reset. The image is loaded
        in either case.
    """
    machine = machine or Machine(image.config)
    machine.write(image.beats)
    if image.outside is not None:
        machine.outside.memory = image.outside.memory()
    return infer(machine, image, x)


def infer(machine: Machine, image: Image, x: NDArray[np.integer]) -> Execution:
    """Run one input on a machine that holds the image already."""
    if image.input.outside:
        write_input(image, machine.outside.memory, x)
    else:
        machine.write(input_frame(image, x))
    complete = {layer.last: layer for layer in image.layers if not layer.output.outside}
    tensors: dict[str, Array] = {}

    def after(number: int) -> None:
        if number in complete:
            layer = complete[number]
            tensors[layer.name] = machine.read(layer.output)

    run = machine.run(after)
    places = {layer.name: layer.output for layer in image.layers}
    tensors = {name: machine.read(one) if one.outside else tensors[name] for name, one in places.items()}
    frames = iter(read_outputs(image, run.frames))
    outputs = tuple(one.given(machine.read(one)) if one.outside else next(frames) for one in image.outputs)
    return Execution(tensors, outputs, run)
