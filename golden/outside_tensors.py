"""Tensors in the memory outside the chip, as a host writes and reads them: bytes, and where they lie."""

import numpy as np
from numpy.typing import NDArray

from twofold.golden.config import ArrayConfig
from twofold.golden.image import Image, PlacedTensor, input_lines, unpack_tensor
from twofold.golden.isa import Section
from twofold.golden.outside import line_bytes, read_lines


def span(config: ArrayConfig, placed: PlacedTensor) -> tuple[int, int]:
    """First byte of a tensor outside, from the image's base on, and number of bytes."""
    size = line_bytes(config, Section.FEATURE)
    return placed.address * config.bus_bits // 8, placed.lines(config) * size


def input_content(image: Image, x: NDArray[np.integer]) -> bytes:
    """The bytes of an input that lies outside, folded if the image says so; raises as `golden.image.input_frame`."""
    size = line_bytes(image.config, Section.FEATURE)
    return b"".join(line.to_bytes(size, "little") for line in input_lines(image, x))


def tensor_of(config: ArrayConfig, placed: PlacedTensor, content: bytes) -> NDArray[np.int64]:
    """The tensor that the bytes of its span hold, a folded input as it is stored: int64, shape (C, H, W)."""
    memory = np.frombuffer(content, dtype=np.uint8)
    return unpack_tensor(config, read_lines(config, memory, 0, Section.FEATURE, placed.lines(config)), placed.stored)


def write_input(image: Image, memory: NDArray[np.uint8], x: NDArray[np.integer]) -> None:
    """Write an input that lies outside into that memory, shape (bytes,)."""
    begin, count = span(image.config, image.input)
    memory[begin : begin + count] = np.frombuffer(input_content(image, x), dtype=np.uint8)


def read_outside(config: ArrayConfig, memory: NDArray[np.uint8], placed: PlacedTensor) -> NDArray[np.int64]:
    """A tensor that lies outside, of that memory: int64, shape (C, H, W)."""
    begin, count = span(config, placed)
    return tensor_of(config, placed, memory[begin : begin + count].tobytes())
