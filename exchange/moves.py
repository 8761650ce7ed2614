"""Operators that move values: along the channels, to more places, or to places of blocks."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from twofold.exchange.inputs import integers
from twofold.exchange.model_file import OnnxNode
from twofold.exchange.reader import Handler, Reader
from twofold.exchange.sums import joined, placed, shuffled
from twofold.exchange.values import Constant, Floats, Joined, Moved, Plain, Sum, Value
from twofold.golden.parts import Part

#: Where Resize reads a place's value, in places of its source, as a function of place and factor.
_COORDINATES: dict[bytes, Callable[[Floats, int], Floats]] = {
    b"asymmetric": lambda place, factor: place / factor,
    b"half_pixel": lambda place, factor: (place + 0.5) / factor - 0.5,
    b"pytorch_half_pixel": lambda place, factor: (place + 0.5) / factor - 0.5,
}
_ROUNDINGS: dict[bytes, Callable[[Floats], Floats]] = {
    b"floor": np.floor,
    b"ceil": np.ceil,
    b"round_prefer_floor": lambda place: np.ceil(place - 0.5),
    b"round_prefer_ceil": lambda place: np.floor(place + 0.5),
}


def concat(reader: Reader, node: OnnxNode) -> Value:
    """Values one after the other along the channels."""
    values = [reader.value(node, place) for place in range(len(node.inputs))]
    axis = int(node.attributes["axis"])
    if all(isinstance(value, Constant) for value in values):
        return Constant(np.concatenate([value.values for value in values if isinstance(value, Constant)], axis))
    if any(isinstance(value, Sum) for value in values):
        sums = [reader.sum(node, place) for place in range(len(values))]
        _check_joined(node, axis, [(one.shape[1:], one.flat) for one in sums])
        if any(one.parts for one in sums):
            raise ValueError(f"{node.where}: inputs must be quantized where they have places of their own")
        return joined(sums)
    pieces = tuple(piece for place in range(len(values)) for piece in reader.plains(node, place).pieces)
    _check_joined(node, axis, [(piece.shape[1:], piece.flat) for piece in pieces])
    if any(any(piece.padding) for piece in pieces):
        raise ValueError(f"{node.where}: inputs must not be padded")
    return Joined(pieces)


def split(reader: Reader, node: OnnxNode) -> Value:
    """Channels in as many values as there are outputs."""
    source = _by_channel(reader, node, int(node.attributes.get("axis", 0)))
    count, given = len(node.outputs), node.attributes.get("split", ())
    each = -(-source.shape[0] // count)
    sizes = integers(reader.constant(node, 1).values) if reader.given(node, 1) else tuple(given)
    sizes = sizes or (*(each,) * (count - 1), source.shape[0] - each * (count - 1))
    if len(sizes) != count or min(sizes) < 1 or sum(sizes) != source.shape[0]:
        raise ValueError(f"{node.where}: split must be {count} parts of {source.shape[0]} channels, not {sizes}")
    ends = np.cumsum(sizes)
    results = [picked(source, range(end - size, end)) for end, size in zip(ends, sizes, strict=True)]
    reader.values |= dict(zip(node.outputs[1:], results[1:], strict=True))
    return results[0]


def gather(reader: Reader, node: OnnxNode) -> Value:
    """Channels by number, or numbers of a constant."""
    axis, index = int(node.attributes.get("axis", 0)), reader.constant(node, 1).values
    value = reader.value(node, 0)
    if isinstance(value, Constant):
        return Constant(np.take(value.values, index.astype(np.int64), axis))
    source = _by_channel(reader, node, axis)
    count = source.shape[0]
    picks = tuple(place + count if place < 0 else place for place in integers(index))
    if index.ndim != 1 or not picks or min(picks) < 0 or max(picks) >= count or len({*picks}) < len(picks):
        raise ValueError(f"{node.where}: indices must be different channels below {count}, not {integers(index)}")
    return picked(source, picks)


def slices(reader: Reader, node: OnnxNode) -> Value:
    """Channels from one to another, or lines at the borders left out."""
    starts, ends = (integers(reader.constant(node, place).values) for place in (1, 2))
    axes = integers(reader.constant(node, 3).values) if reader.given(node, 3) else tuple(range(len(starts)))
    steps = integers(reader.constant(node, 4).values) if reader.given(node, 4) else (1,) * len(starts)
    source = reader.plains(node)
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        place = axis % (2 if source.flat else 4)
        if place == 0:
            raise ValueError(f"{node.where}: axes must not be the batch's")
        kept = range(source.shape[place - 1])[slice(start, end, step)]
        if place == 1:
            source = picked(_by_channel(reader, node, 1, source), kept)
        else:
            source = _cut(reader, node, source, place, kept)
    return source


def resize(reader: Reader, node: OnnxNode) -> Value:
    """The nearest neighbour by whole factors: each value at every place of a block."""
    source = reader.copied(node)
    height, width = source.shape[1:]
    factors = _factors(reader, node, (1, 1, height, width))
    mode = node.attributes.get("mode", b"nearest")
    coordinate = _COORDINATES.get(node.attributes.get("coordinate_transformation_mode", b"half_pixel"))
    rounding = _ROUNDINGS.get(node.attributes.get("nearest_mode", b"round_prefer_floor"))
    if mode != b"nearest" or coordinate is None or rounding is None:
        raise ValueError(f"{node.where}: mode must be nearest, with coordinates in steps of 1 / factor")
    for factor, size in zip(factors, (height, width), strict=True):
        places = np.arange(float(factor * size))
        read = np.clip(rounding(coordinate(places, factor)), 0, size - 1)
        if (read != places // factor).any():
            raise ValueError(f"{node.where}: each value must fill the places of one block")
    return _repeated(source, factors)


def depth_to_space(reader: Reader, node: OnnxNode) -> Value:
    """Channels at the places of a block."""
    block, by_column = int(node.attributes["blocksize"]), node.attributes.get("mode", b"DCR") == b"CRD"
    value = reader.value(node, 0)
    moved = value.sum if isinstance(value, Moved) else value
    if not isinstance(value, Sum):
        value = reader.copied(node)
        moved = value.sum
    if not isinstance(moved, Sum) or moved.parts or moved.flat or moved.shape[0] % block**2:
        raise ValueError(f"{node.where}: input must be quantized, of a multiple of {block**2} channels")
    result = shuffled(moved, block, by_column=by_column)
    return replace(value, sum=result) if isinstance(value, Moved) else result


def picked(source: Plain | Joined, channels: range | tuple[int, ...]) -> Plain | Joined:
    """Some channels, in their order."""
    pieces, place = list[Plain](), 0
    where = [(piece, n) for piece in source.pieces for n in range(piece.shape[0])]
    chosen = [where[channel] for channel in channels]
    while place < len(chosen):
        piece, end = chosen[place][0], place
        while end < len(chosen) and chosen[end][0] is piece:
            end += 1
        read = piece.channels or tuple(range(piece.shape[0]))
        own = tuple(read[n] for _, n in chosen[place:end])
        pieces.append(replace(piece, shape=(len(own), *piece.shape[1:]), channels=own))
        place = end
    return pieces[0] if len(pieces) == 1 else Joined(tuple(pieces))


def _check_joined(node: OnnxNode, axis: int, found: list[tuple[object, bool]]) -> None:
    if len(set(found)) > 1 or axis % (2 if found[0][1] else 4) != 1:
        raise ValueError(f"{node.where}: inputs must be of one size, joined along the channels, axis 1")


def _by_channel(reader: Reader, node: OnnxNode, axis: int, source: Plain | Joined | None = None) -> Plain | Joined:
    """The input, of which an operator takes some channels."""
    source = source or reader.plains(node)
    single = not source.flat or source.shape[1:] == (1, 1)
    if axis % (2 if source.flat else 4) != 1 or not single or any(any(piece.padding) for piece in source.pieces):
        raise ValueError(f"{node.where}: axis must be that of the channels, 1, and input not padded")
    return source


def _cut(reader: Reader, node: OnnxNode, source: Plain | Joined, axis: int, kept: range) -> Plain | Joined:
    """Lines at the borders left out, as negative padding."""
    if len(kept) == source.shape[axis - 1] and kept.step == 1:
        return source
    if not isinstance(source, Plain) or source.channels is not None or kept.step != 1 or not kept:
        raise ValueError(f"{node.where}: lines must be left out at the borders of a quantized tensor alone")
    if any(side > 0 for side in source.padding) or source.padding[axis - 2] or source.padding[axis]:
        raise ValueError(f"{node.where}: input must not be padded")
    sides = list(source.padding)
    sides[axis - 2], sides[axis] = -kept.start, kept.stop - source.shape[axis - 1]
    return replace(source, padding=(sides[0], sides[1], sides[2], sides[3]))


def _factors(reader: Reader, node: OnnxNode, shape: tuple[int, ...]) -> tuple[int, int]:
    """Whole factors of height and width."""
    given = next((place for place in (2, 3) if reader.given(node, place)), None)
    numbers = np.zeros(0) if given is None else np.asarray(reader.constant(node, given).values, np.float64)
    if len(numbers) == 4 and given == 3:
        numbers = np.array([1, 1, *(numbers[2:] / shape[2:])])
    whole = len(numbers) == 4 and bool((np.rint(numbers) == numbers).all()) and numbers.min() >= 1
    if not whole or numbers[0] != 1 or numbers[1] != 1 or "axes" in node.attributes:
        raise ValueError(f"{node.where}: height and width must grow by whole factors, not by {numbers.tolist()}")
    return int(numbers[2]), int(numbers[3])


def _repeated(source: Moved, factors: tuple[int, int]) -> Moved:
    """A copy with each value at every place of a block."""
    channels, height, width = source.shape
    size = (height * factors[0], width * factors[1])
    terms, parts = [], list[Part]()
    for place in np.ndindex(factors):
        one = placed(source.sum, (int(place[0]), int(place[1])), factors, size)
        terms += [replace(term, channel=term.channel + len(parts) * channels) for term in one.terms]
        parts += one.parts
    bias = np.zeros(channels * len(parts))
    total = replace(source.sum, shape=(channels, *size), terms=tuple(terms), bias=bias, parts=tuple(parts))
    return replace(source, sum=total)


HANDLERS: dict[str, Handler] = {
    "Concat": concat,
    "DepthToSpace": depth_to_space,
    "Gather": gather,
    "Resize": resize,
    "Slice": slices,
    "Split": split,
}
