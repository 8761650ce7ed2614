"""A layer's output positions as chunks that the accumulators can hold."""

from typing import NamedTuple


class Chunk(NamedTuple):
    """A rectangle of output positions."""

    y: int
    x: int
    height: int
    width: int


def even(total: int, parts: int) -> list[int]:
    """`total` as that many numbers, as equal as can be, larger ones first."""
    return [total // parts + (n < total % parts) for n in range(parts)]


def chunks(height: int, width: int, rows: int, depth: int) -> list[Chunk]:
    """An output map as chunks of at most `depth` positions, in raster order.

    Parameters
    ----------
    height, width
        Of the map.
    rows
        Parts that the height is cut into, for chunks of whole rows. Where not even one row fits, chunks are equal
        parts of one row.
    depth
        Positions of an accumulator bank.
    """
    found = []
    widths = even(width, -(-width // depth))
    y = 0
    for size in even(height, height if len(widths) > 1 else rows):
        x = 0
        for part in widths:
            found.append(Chunk(y, x, size, part))
            x += part
        y += size
    return found


def smallest(cut: list[Chunk]) -> int:
    """Positions of the smallest chunk."""
    return min(chunk.height * chunk.width for chunk in cut)


def choices(height: int, width: int, depth: int) -> list[list[Chunk]]:
    """Ways to cut a map that are worth timing, the one with the fewest chunks first.

    Large chunks hide the loading of tiles; small ones let the requantiser, which works on the chunk before, finish
    earlier.
    """
    fewest = -(-height // max(1, depth // width))
    parts = sorted({min(height, n) for n in (fewest, fewest + 1, 2 * fewest, 4 * fewest)})
    if width > depth:
        parts = [height]
    return [chunks(height, width, n, depth) for n in parts]
