"""The memory image: what a host loads into a machine to run one network, and how tensors lie in feature memory.

`golden.image_folder` keeps it on disk; `golden.frame` has the stream frames.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from twofold.golden.causes import causes, lost, share_out, summed, totals
from twofold.golden.config import ArrayConfig
from twofold.golden.frame import FrameError, frame, join, parse
from twofold.golden.input_layout import InputLayout
from twofold.golden.isa import Instruction, Section, decode, line_beats, line_count
from twofold.golden.memories import lanes_of, lines_of
from twofold.golden.network import Tensor
from twofold.golden.order import Order
from twofold.golden.outside import transfer_clock
from twofold.golden.timing import Step, timing
from twofold.golden.transfers import REFERENCE_LATENCY

__all__ = [
    "FrameError",
    "Image",
    "ImageLayer",
    "PlacedTensor",
    "frame",
    "input_frame",
    "pack_tensor",
    "parse",
    "read_output",
    "read_outputs",
    "unpack_tensor",
]


@dataclass(frozen=True)
class PlacedTensor:
    """A tensor and where it lies in feature memory, or outside the chip.

    Parameters
    ----------
    tensor
        Shape and number format.
    address
        Its first line.
    layout
        How an input is folded; None where the tensor lies as it is.
    outside
        It lies in the memory outside the chip, and `address` counts beats of the bus.
    order
        Shape and order in which a user gets an output; None: the map's.
    """

    tensor: Tensor
    address: int
    layout: InputLayout | None = None
    outside: bool = False
    order: Order | None = None

    def __post_init__(self) -> None:
        if self.order is not None:
            self.order.check(self.tensor.shape)

    @property
    def stored(self) -> Tensor:
        """What lies in the lines: the tensor, folded if there is a layout."""
        return self.tensor if self.layout is None else replace(self.tensor, shape=self._shape)

    def given(self, map: NDArray[np.int64]) -> NDArray[np.int64]:
        """The tensor, shape (C, H, W), as a user gets it."""
        return map if self.order is None else self.order.of(map)

    def lines(self, config: ArrayConfig) -> int:
        """Lines that the tensor takes."""
        channels, height, width = self._shape
        return -(-channels // config.rows) * height * width

    @property
    def _shape(self) -> tuple[int, int, int]:
        return self.tensor.shape if self.layout is None else self.layout.shape(self.tensor.shape)


@dataclass(frozen=True)
class ImageLayer:
    """One row of the layer table.

    Parameters
    ----------
    name, kind
        As in the network.
    first, last
        Program lines of the layer, both included: its output is complete after the DRAIN in line `last`.
    passes, cycles
        Predicted.
    spent
        `cycles` by cause (`golden.causes.CAUSES`).
    work
        Those of the array by what they were for (`golden.causes.WORK`).
    macs
        Multiply-accumulates of the original network.
    acc_bits
        The smallest accumulator width (bits) that provably holds the layer's sums.
    output
        The result's place. A later layer may write over it.
    """

    name: str
    kind: str
    first: int
    last: int
    passes: int
    cycles: int
    spent: Mapping[str, int]
    work: Mapping[str, int]
    macs: int
    acc_bits: int
    output: PlacedTensor

    @property
    def lost(self) -> dict[str, int]:
        """`cycles` by `golden.causes.LOST`."""
        return lost(self.spent, self.work)


@dataclass(frozen=True)
class OutsideContent:
    """What a host writes into the memory outside the chip before the first inference.

    Parameters
    ----------
    content
        From the base on: the transfer list, the program, weight and channel lines.
    size
        Bytes of the whole, with room for the tensors behind that.
    """

    content: bytes
    size: int

    def memory(self) -> NDArray[np.uint8]:
        """A memory that holds it, shape (size,)."""
        memory = np.zeros(self.size, dtype=np.uint8)
        memory[: len(self.content)] = np.frombuffer(self.content, dtype=np.uint8)
        return memory


@dataclass(frozen=True)
class Image:
    """Everything that a machine needs to run one network, and what is predicted of it.

    Parameters
    ----------
    config
        The build that it is for; any other build refuses it.
    network
        Name of the network.
    program, weight, channel, points, tables
        Lines of the memories, from line 0 on (`golden.isa` says what their bits are).
    layers
        The layer table, in program order.
    input, outputs
        Where the host writes the input, and what the machine sends, in order, each a frame.
    cycles
        Predicted cycles of an inference: what the machine's CYCLES register will read.
    outside
        What the memory outside the chip holds at first, and how large it must be; None in a build without one.
    """

    config: ArrayConfig
    network: str
    program: tuple[int, ...]
    weight: tuple[int, ...]
    channel: tuple[int, ...]
    points: tuple[int, ...]
    tables: tuple[int, ...]
    layers: tuple[ImageLayer, ...]
    input: PlacedTensor
    outputs: tuple[PlacedTensor, ...]
    cycles: int
    outside: OutsideContent | None = None

    @property
    def output(self) -> PlacedTensor:
        """The only output, or the first of several."""
        return self.outputs[0]

    @property
    def sections(self) -> dict[Section, tuple[int, ...]]:
        """The lines by memory, in the order in which they are sent."""
        tables = {Section.TABLES: self.tables} if self.config.tables else {}
        if self.outside is not None:
            # The rest comes from outside; a line of the program says that one is loaded.
            return tables | {Section.POINTS: self.points, Section.PROGRAM: self.program[:1]}
        return tables | {
            Section.POINTS: self.points,
            Section.WEIGHT: self.weight,
            Section.CHANNEL: self.channel,
            Section.PROGRAM: self.program,
        }

    @cached_property
    def beats(self) -> list[int]:
        """The frame that loads the image."""
        return frame(self.config, [(kind, 0, lines) for kind, lines in self.sections.items() if lines])

    @cached_property
    def instructions(self) -> tuple[Instruction, ...]:
        """The program, decoded."""
        return tuple(decode(self.config, line) for line in self.program)

    def steps(self, latency: int = REFERENCE_LATENCY) -> tuple[Step, ...]:
        """When each instruction is accepted; `latency` (cycles) is that of the memory outside, if there is one."""
        if self.outside is None:
            return timing(self.config, self.instructions)
        memory = np.frombuffer(self.outside.content, dtype=np.uint8)
        return timing(self.config, self.instructions, transfer_clock(self.config, memory, latency))

    @property
    def passes(self) -> int:
        """Predicted passes of an inference."""
        return sum(layer.passes for layer in self.layers)

    @property
    def acc_bits(self) -> int:
        """The smallest accumulator width (bits) that provably does."""
        return max(layer.acc_bits for layer in self.layers)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the original network."""
        return sum(layer.macs for layer in self.layers)

    @cached_property
    def lost(self) -> dict[str, int]:
        """Cycles of an inference by `golden.causes.LOST`; they add up to `cycles`."""
        spent = totals(causes(self.config, self.instructions, self.steps()))
        work = summed([layer.work for layer in self.layers])
        # What the array still does after the last layer is nobody's.
        return lost(spent, share_out(spent["array"], work, work["useful"]))

    def used_lines(self, kind: Section) -> int:
        """Lines of a memory that the image, or in feature memory any of its tensors, takes."""
        if self.outside is not None and kind not in (Section.POINTS, Section.TABLES):
            return line_count(self.config, kind)
        if kind is not Section.FEATURE:
            return len(self.sections[kind])
        placed = [self.input, *(layer.output for layer in self.layers)]
        return max(tensor.address + tensor.lines(self.config) for tensor in placed)

    def utilisation(self, layer: ImageLayer | None = None) -> float:
        """Multiply-accumulates per cycle and PE, of one layer or of an inference; at most 1."""
        macs, cycles = (self.macs, self.cycles) if layer is None else (layer.macs, layer.cycles)
        return macs / (cycles * self.config.rows * self.config.cols)


def pack_tensor(config: ArrayConfig, x: NDArray[np.integer]) -> list[int]:
    """Feature lines of a tensor.

    Parameters
    ----------
    x : integers, shape (C, H, W)
        Activations that fit in `config.act_bits`, signed or unsigned. Lanes beyond C are zero.

    Returns
    -------
    ``ceil(C / rows) * H * W`` lines.
    """
    channels, height, width = x.shape
    planes = -(-channels // config.rows)
    lanes = np.zeros((planes * config.rows, height * width), dtype=np.int64)
    lanes[:channels] = x.reshape(channels, -1)
    lines = lanes.reshape(planes, config.rows, -1).transpose(0, 2, 1).reshape(-1, config.rows)
    return lines_of(lines, config.act_bits)


def unpack_tensor(config: ArrayConfig, lines: Sequence[int], tensor: Tensor) -> NDArray[np.int64]:
    """The tensor that feature lines hold; the reverse of `pack_tensor`.

    Returns
    -------
    int64, shape (C, H, W)
    """
    return raw_tensor(config, lanes_of(lines, config.act_bits, config.rows), tensor)


def raw_tensor(config: ArrayConfig, values: NDArray[np.int64], tensor: Tensor) -> NDArray[np.int64]:
    """A tensor from the raw lanes of its lines.

    Parameters
    ----------
    values : shape (lines, rows)
        Unsigned contents of the lanes.

    Returns
    -------
    int64, shape (C, H, W)
    """
    if tensor.signed:
        values = values - ((values >> (config.act_bits - 1)) << config.act_bits)
    channels, height, width = tensor.shape
    planes = values.reshape(-1, height * width, config.rows).transpose(0, 2, 1)
    return planes.reshape(-1, height, width)[:channels]


def input_frame(image: Image, x: NDArray[np.integer]) -> list[int]:
    """The frame that writes an input, folded if the image says so.

    Parameters
    ----------
    x : integers, shape (C, H, W)
        Activations within the input's number format.

    Raises
    ------
    TypeError
        If `x` is not an array of integers.
    ValueError
        If the shape differs or a value is out of range.
    """
    return frame(image.config, [(Section.FEATURE, image.input.address, input_lines(image, x))])


def input_lines(image: Image, x: NDArray[np.integer]) -> list[int]:
    """The feature lines of an input, folded if the image says so; raises like `input_frame`."""
    tensor = image.input.tensor
    if not np.issubdtype(x.dtype, np.integer):
        raise TypeError(f"Input must be integers, not {x.dtype}")
    if x.shape != tensor.shape:
        raise ValueError(f"Input must be of shape {tensor.shape}, not {x.shape!r}")
    for value in (int(x.min()), int(x.max())):
        if not tensor.low <= value <= tensor.high:
            raise ValueError(f"Input must be {tensor.low} to {tensor.high}, not {value!r}")
    stored = x if image.input.layout is None else image.input.layout.fold(x)
    return pack_tensor(image.config, stored)


def read_outputs(image: Image, frames: Sequence[Sequence[int]]) -> tuple[NDArray[np.int64], ...]:
    """The output tensors that an inference's frames of the output stream carry, in order; not those that lie outside.

    Returns
    -------
    int64, shape (C, H, W), or of its `order`, for each output.

    Raises
    ------
    ValueError
        If the number of frames differs, or that of a frame's beats.
    """
    sent = [number for number, placed in enumerate(image.outputs) if not placed.outside]
    if len(frames) != len(sent):
        raise ValueError(f"Output must be {len(sent)} frames, not {len(frames)!r}")
    return tuple(read_output(image, frame, number) for number, frame in zip(sent, frames, strict=True))


def read_output(image: Image, beats: Sequence[int], number: int = 0) -> NDArray[np.int64]:
    """The output tensor that a frame of the output stream carries.

    Parameters
    ----------
    image
        What ran.
    beats
        The frame.
    number
        Which of the outputs.

    Returns
    -------
    int64, shape (C, H, W), or of its `order`

    Raises
    ------
    ValueError
        If the number of beats differs.
    """
    width = line_beats(image.config, Section.FEATURE)
    output = image.outputs[number]
    expected = output.lines(image.config) * width
    if len(beats) != expected:
        raise ValueError(f"Output must be {expected} beats, not {len(beats)!r}")
    lines = [join(beats[n : n + width]) for n in range(0, expected, width)]
    return output.given(unpack_tensor(image.config, lines, output.tensor))
