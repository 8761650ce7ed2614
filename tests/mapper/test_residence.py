"""Which tensors stay on the chip and where bands of the others go: line by line, on random networks."""

from dataclasses import replace
from itertools import groupby, product

import numpy as np
import pytest

from tests.mapper.small import branch, layer, network
from tests.support.outside import OUTSIDE, outside_network
from twofold.golden.network import INPUT
from twofold.mapper.bands import RowRange, Slab, band_chunks, cut, slab_lines, slabs
from twofold.mapper.chains import may_chain
from twofold.mapper.checks import FitError
from twofold.mapper.memory import lifetimes, tensor_lines
from twofold.mapper.residence import reside

#: Seeds of networks, and feature lines of the build; the last ones have their longest run amid others.
CASES = (*product(range(1, 25), (48, 96, 192)), (23, 80), (30, 192), (68, 320))


def cases():
    """Networks with the build that holds a few of their tensors only; what fits nowhere is left out."""
    for seed, depth in CASES:
        drawn, config = outside_network(seed), replace(OUTSIDE, feature_depth=depth)
        try:
            yield config, drawn, reside(config, drawn)
        except FitError:
            continue


@pytest.fixture(scope="module")
def found():
    return list(cases())


def free_lines(config, drawn, residence, number):
    """Whether each line is free while a layer is computed."""
    free = np.ones(config.feature_depth, dtype=bool)
    for name, place in residence.places.items():
        first, last = lifetimes(drawn)[name]
        lines = slice(place, place + tensor_lines(config, drawn.tensors[name].shape))
        assert lines.stop <= config.feature_depth
        if first <= number <= last:
            assert free[lines].all() or first == last == number, name
            free[lines] = False
    return free


def longest(free):
    """(first line, length) of the longest run of free lines; the first of several."""
    runs, begin = [(0, 0)], 0
    for value, group in groupby(free):
        size = len(list(group))
        runs += [(begin, size)] if value else []
        begin += size
    return max(runs, key=lambda run: run[1])


def need(config, drawn, residence, one, bands):
    """Lines of two of the bands, or of the only one."""
    each = [sum(slab_lines(config, drawn, s) for s in slabs(drawn, one, residence.outside, b)) for b in bands]
    return max(each) * min(2, len(bands))


def chunks_do(config, one, bands):
    """Whether every chunk of a piece that chain passes may compute has positions enough for them."""
    pieces = [(part, piece) for part, piece in one.pieces if may_chain(config, piece)]
    cuts = [band_chunks(part, piece, band, config.acc_depth) for part, piece in pieces for band in bands]
    sizes = [chunk.width * chunk.height for chunks in cuts for chunk in chunks]
    return len(bands) == 1 or all(size >= config.min_pass for size in sizes)


def test_bands_have_the_longest_free_run_and_are_as_few_as_can_be(found):
    several = fewer = amid = 0
    for config, drawn, residence in found:
        for number, one in enumerate(drawn.layers):
            area = residence.areas.get(one.name)
            assert (area is not None) == bool(residence.outside & {one.name, *one.sources})
            if area is None:
                continue
            begin, size = longest(free_lines(config, drawn, residence, number))
            height = one.output.shape[1]
            ways = [(count, cut(height, -(-height // count))) for count in range(1, height + 1)]
            able = [(count, bands) for count, bands in ways if chunks_do(config, one, bands)]
            many = [bands for count, bands in able if count >= min(4, height)]
            wanted = many or [bands for _, bands in able[::-1]]
            fits = [bands for bands in wanted if need(config, drawn, residence, one, bands) <= size]
            assert (area.begin, area.half, list(area.bands)) == (begin, size // min(2, len(fits[0])), fits[0])
            several += len(area.bands) > 4
            amid += begin + size < config.feature_depth
            fewer += len(area.bands) < min(4, height)
    assert several > 5 and fewer > 5 and amid > 3


def test_what_is_added_lies_where_the_sum_does(found):
    pairs = [(one.skip.source, one.name, where) for _, drawn, where in found for one in drawn.layers if one.skip]
    assert len(pairs) > 20
    assert all((source in where.outside) == (name in where.outside) for source, name, where in pairs)


def test_rows_that_nobody_reads_are_not_brought():
    """Bands whose windows lie in the padding."""
    taps = branch(np.ones((1, 1, 1, 1, 1)), padding=(3, 0, 0, 0))
    padded = network([layer("conv", [taps], (1, 5, 4))], (1, 2, 4))
    outside = frozenset((INPUT, "conv"))
    assert slabs(padded, padded.layers[0], outside, RowRange(0, 3)) == [Slab("conv", "output", RowRange(0, 3))]
    assert slabs(padded, padded.layers[0], outside, RowRange(2, 4))[0] == Slab(INPUT, "source", RowRange(0, 1))
