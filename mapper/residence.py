"""Which tensors stay on the chip, and where bands of the others find room."""

from dataclasses import dataclass

from twofold.golden.config import ArrayConfig
from twofold.golden.network import Layer, Network
from twofold.mapper.bands import RowRange, band_chunks, cut, slab_lines, slabs
from twofold.mapper.chains import may_chain
from twofold.mapper.checks import FitError
from twofold.mapper.chunks import smallest
from twofold.mapper.memory import allocate, lifetimes, tensor_lines

#: Bands that a map is cut into at least, where it has so many rows: while one is computed the next one comes.
_BANDS = 4


@dataclass(frozen=True)
class Area:
    """Feature lines for bands of a layer's tensors: two halves, used by turns, or one for all rows at once.

    `begin`: the first line; `half`: lines of a half; `bands`: the output's rows.
    """

    begin: int
    half: int
    bands: tuple[RowRange, ...]


@dataclass(frozen=True)
class Residence:
    """Where tensors lie.

    Parameters
    ----------
    places
        First feature line of those on the chip.
    outside
        Names of the others.
    areas
        Room for bands, by the name of the layer that reads or writes some.
    """

    places: dict[str, int]
    outside: frozenset[str]
    areas: dict[str, Area]


def reside(config: ArrayConfig, network: Network) -> Residence:
    """Keep as much on the chip as fits: the largest tensors go first, where it is too full.

    Raises
    ------
    FitError
        If some layer finds no room for a single row of what it reads and writes.
    """
    outside: frozenset[str] = frozenset()
    while True:
        places = allocate(config, network, outside)
        full = _overfull(config, network, places)
        areas: dict[str, Area] = {}
        if full is None:
            full = _find_areas(config, network, places, outside, areas)
        if full is None:
            return Residence(places, outside, areas)
        outside = _with_skips(network, outside | {_largest(config, network, outside, full)})


def _overfull(config: ArrayConfig, network: Network, places: dict[str, int]) -> int | None:
    """Number of a layer at which the tensors on the chip need more lines than there are."""
    lives = lifetimes(network)
    for name, place in places.items():
        if place + tensor_lines(config, network.tensors[name].shape) > config.feature_depth:
            return min(lives[name][0], len(network.layers) - 1)
    return None


def _find_areas(
    config: ArrayConfig, network: Network, places: dict[str, int], outside: frozenset[str], areas: dict[str, Area]
) -> int | None:
    """Fill in the areas; returns the number of a layer for which there is no room."""
    for number, layer in enumerate(network.layers):
        if outside & {layer.name, *layer.sources}:
            begin, end = _gap(config, network, places, number)
            bands = _bands(config, network, layer, outside, end - begin)
            if bands is None:
                return number
            areas[layer.name] = Area(begin, (end - begin) // min(2, len(bands)), bands)
    return None


def _gap(config: ArrayConfig, network: Network, places: dict[str, int], number: int) -> tuple[int, int]:
    """The longest run of lines that no tensor holds while a layer is computed."""
    lives = lifetimes(network)
    taken = sorted(
        (place, place + tensor_lines(config, network.tensors[name].shape))
        for name, place in places.items()
        if lives[name][0] <= number <= lives[name][1]
    )
    best, free = (0, 0), 0
    for begin, end in [*taken, (config.feature_depth, config.feature_depth)]:
        best = max(best, (free, begin), key=lambda gap: gap[1] - gap[0])
        free = max(free, end)
    return best


def _bands(
    config: ArrayConfig, network: Network, layer: Layer, outside: frozenset[str], lines: int
) -> tuple[RowRange, ...] | None:
    """The fewest bands of which two fit in so many lines."""
    cuts = _cuts(config, layer)
    return next((tuple(bands) for bands in cuts if _need(config, network, layer, outside, bands) <= lines), None)


def _cuts(config: ArrayConfig, layer: Layer) -> list[list[RowRange]]:
    """Ways to cut a layer into bands: at least `_BANDS`, if not their chunks have too few positions then."""
    height = layer.output.shape[1]
    least = min(_BANDS, height)
    for counts in (range(least, height + 1), range(least - 1, 0, -1)):
        cuts = [cut(height, -(-height // count)) for count in counts]
        if able := [bands for bands in cuts if len(bands) == 1 or _chunks_do(config, layer, bands)]:
            return able
    raise AssertionError("A layer must be one band, if nothing else")


def _need(config: ArrayConfig, network: Network, layer: Layer, outside: frozenset[str], bands: list[RowRange]) -> int:
    """Lines that two of the bands need, or a single one."""
    return max(_lines(config, network, layer, outside, band) for band in bands) * min(2, len(bands))


def _chunks_do(config: ArrayConfig, layer: Layer, bands: list[RowRange]) -> bool:
    """Whether chunks of bands have positions enough for chain passes, where there may be any."""
    pieces = [(part, piece) for part, piece in layer.pieces if may_chain(config, piece)]
    cuts = [band_chunks(part, piece, band, config.acc_depth) for part, piece in pieces for band in bands]
    return all(smallest(chunks) >= config.min_pass for chunks in cuts if chunks)


def _lines(config: ArrayConfig, network: Network, layer: Layer, outside: frozenset[str], band: RowRange) -> int:
    return sum(slab_lines(config, network, slab) for slab in slabs(network, layer, outside, band))


def _largest(config: ArrayConfig, network: Network, outside: frozenset[str], number: int) -> str:
    """The largest tensor on the chip while a layer is computed."""
    lives = lifetimes(network)
    there = [name for name in lives if lives[name][0] <= number <= lives[name][1] and name not in outside]
    if not there:
        layer = network.layers[number]
        least = min(_need(config, network, layer, outside, bands) for bands in _cuts(config, layer))
        raise FitError(
            f"Layer {layer.name!r}: feature_depth must be at least {least} for two bands of rows, "
            f"not {config.feature_depth!r}",
            least - config.feature_depth,
        )
    return max(there, key=lambda name: tensor_lines(config, network.tensors[name].shape))


def _with_skips(network: Network, outside: frozenset[str]) -> frozenset[str]:
    """A skip lies as the output does that it is added to: both outside, or neither."""
    while True:
        more = set(outside)
        for layer in network.layers:
            if layer.skip is not None and more & {layer.name, layer.skip.source}:
                more |= {layer.name, layer.skip.source}
        if more == outside:
            return outside
        outside = frozenset(more)
