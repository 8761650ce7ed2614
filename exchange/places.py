"""Layers in parts, in ONNX: the values of each part at its places of the whole map."""

from collections.abc import Sequence

import numpy as np

from twofold.exchange.graph import GraphBuilder, Shape
from twofold.golden.parts import Part


def sliced(graph: GraphBuilder, value: str, part: Part, *, out: str) -> str:
    """The values of a map, (batch, C, H, W), at a part's places."""
    rows, columns = part.places
    bounds = [(rows.start, columns.start), (rows.stop, columns.stop), (2, 3), part.step]
    return graph.add("Slice", value, *(graph.constant(np.array(pair), f"{out}/bounds") for pair in bounds), out=out)


def assembled(
    graph: GraphBuilder, values: Sequence[str], parts: Sequence[Part], shape: Shape, *, out: str, reserved: bool = False
) -> str:
    """The map of all parts' values, which may be of any number type."""
    index, count = np.zeros(shape[1:], dtype=np.int64), 0
    for part in parts:
        own = part.size[0] * part.size[1]
        index[part.places] = np.arange(count, count + own).reshape(part.size)
        count += own
    rows = [
        graph.add("Reshape", value, graph.constant(np.array([0, 0, -1]), f"{out}/flat"), out=f"{out}/row")
        for value in values
    ]
    joined = graph.add("Concat", *rows, out=f"{out}/rows", axis=2)
    return graph.add("Gather", joined, graph.constant(index, f"{out}/places"), out=out, reserved=reserved, axis=2)


def spread(graph: GraphBuilder, value: str, part: Part, shape: Shape, *, out: str) -> str:
    """A map of zeros with a part's float32 values at its places; sums of such are read again as parts."""
    size = [(count - 1) * step + 1 for count, step in zip(part.size, part.step, strict=True)]
    if tuple(size) != part.size:
        ones = graph.constant(np.ones((shape[0], 1, 1, 1), np.float32), f"{out}/ones")
        value = graph.add("ConvTranspose", value, ones, out=out, group=shape[0], strides=part.step)
    after = [whole - first - own for whole, first, own in zip(shape[1:], part.offset, size, strict=True)]
    return graph.pad(value, [0, 0, *part.offset, 0, 0, *after], out=out)
