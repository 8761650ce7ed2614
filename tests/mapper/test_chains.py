"""Which passes of channel-by-channel layers become chain passes, what their tiles hold, and that sums stay right."""

from collections import Counter

import numpy as np
import pytest

from tests.mapper.small import DENSE, branch, build, layer, network
from twofold.golden import layers
from twofold.golden.isa import Pass
from twofold.golden.machine import execute
from twofold.golden.network import Tensor
from twofold.mapper import compile_network
from twofold.mapper.chains import chain_block, chain_fits, chain_passes
from twofold.mapper.tiles import output_tiles


def depthwise(kernel, size=(8, 8), channels=4, words=1, **geometry):
    codes = np.random.default_rng(sum(kernel)).integers(1, 8, (words, channels, 1, *kernel))
    return branch(codes, groups=channels, **geometry), (channels, *size)


def taps(one, shape, config, size=(8, 8), **changes):
    net = network([layer("dw", [one], shape, **changes)], (shape[0], *size), signed=True)
    (tile, *_) = output_tiles(config, net, net.layers[0])
    return [(*found.tap, found.chain) for found in tile.passes]


def test_three_neighbours_make_a_chain_and_two_that_are_left_another():
    assert taps(*depthwise((2, 5), padding=(0, 2, 1, 2)), build()) == [(0, 0, 1), (0, 3, 1), (1, 0, 1), (1, 3, 1)]
    assert taps(*depthwise((1, 4), padding=(0, 2, 0, 1)), build()) == [(0, 0, 1), (0, 3, 0)]
    assert taps(*depthwise((3, 1), padding=(1, 0)), build()) == [(0, 0, 0), (1, 0, 0), (2, 0, 0)]


def test_a_chain_is_taken_where_it_is_no_slower():
    live = [(0, kx, 0) for kx in range(5)]
    # Rows of 8: 3 * 8 cycles a row for three taps, or 7 * stride + 3; for two 2 * 8.
    assert chain_passes(build(), live, (4, 8), 1, 4) == {(0, 0, 0): (0, 1, 2), (0, 3, 0): (3, 4)}
    assert chain_passes(build(), live, (4, 8), 2, 4) == {(0, 0, 0): (0, 1, 2)}
    assert chain_passes(build(), live, (4, 8), 3, 4) == {(0, 0, 0): (0, 1, 2)}
    assert chain_passes(build(), live, (4, 8), 4, 4) == {}
    # Tiles of 16 columns take longer to load than any of these passes.
    assert chain_passes(build(), live, (1, 4), 4, 16) == {(0, 0, 0): (0, 1, 2), (0, 3, 0): (3, 4)}


def test_chains_take_what_is_there_row_by_row_and_word_by_word():
    live = [(0, 0, 0), (0, 4, 0), (0, 5, 0), (1, 0, 0), (1, 2, 0), (1, 1, 1)]
    assert chain_passes(build(), live, (4, 8), 1, 4) == {(0, 4, 0): (4, 5), (1, 0, 0): (0, 2)}


@pytest.mark.parametrize(("size", "depth"), [((1, 3), 64), ((3, 1), 64), ((4, 3), 5), ((2, 5), 4)])
def test_chunks_of_fewer_positions_than_a_pass_must_have_take_no_chain(size, depth):
    assert chain_passes(build(acc_depth=depth), [(0, 0, 0), (0, 1, 0)], size, 1, 4) == {}


def test_cuts_into_small_chunks_are_left_to_layers_without_chains():
    one, shape = depthwise((1, 3), size=(4, 3), padding=(0, 1))
    image = compile_network(network([layer("dw", [one], shape)], (4, 4, 3)), build())
    assert [(found.height, found.width) for found in image.instructions if hasattr(found, "in_width")] == [(4, 3)]


@pytest.mark.parametrize(
    ("lanes", "shape", "expected"),
    [
        ([0, 1, 2, 3], (4, 4), True),
        ([0, 1], (4, 4), True),
        ([4, 5, 6, 7], (8, 4), True),  # of 8 rows the upper half, which columns 4 to 7 of a layer see
        ([0, 1, 2, 3, 0, 1, 2, 3], (4, 8), True),
        ([1, 2, 3, 0], (4, 4), False),  # a branch that begins at another channel
        ([0, 0, 1, 1], (4, 4), False),  # two outputs a channel
        ([0, 1], (2, 2), False),
        ([0, 1], (2, 8), False),
    ],
)
def test_a_chain_begins_with_the_lane_of_the_columns_number(lanes, shape, expected):
    rows, cols = shape
    valid = np.zeros((rows, len(lanes)), dtype=bool)
    valid[lanes, range(len(lanes))] = True
    assert chain_fits(build(rows=rows, cols=cols), valid) is expected


def test_columns_of_several_lanes_are_no_chain():
    assert not chain_fits(build(), np.array([[1, 0], [1, 1], [0, 0], [0, 0]], dtype=bool))


def test_a_tile_by_hand():
    codes = np.zeros((3, 4, 4), dtype=np.uint8)
    valid = np.eye(4, dtype=bool)
    for kx in range(3):
        codes[kx] = np.where(valid, [[1 + kx, 2, 3, 4 + kx]], 7)
    # The first tap is read first and waits longest, two rows down; rows go round. Here column by column.
    expected = [[3, 2, 1, 0], [0, 2, 2, 2], [3, 0, 3, 3], [5, 4, 0, 6]]
    assert chain_block(codes, valid, 0, (0, 1, 2)).T.tolist() == expected
    assert chain_block(codes, valid, 0, (1, 2)).T.tolist() == [[0, 3, 2, 0], [0, 0, 2, 2], [3, 0, 0, 3], [6, 5, 0, 0]]


def test_what_cannot_be_chained():
    one, shape = depthwise((1, 3), padding=(0, 2), dilation=(1, 2))
    assert [chain for *_, chain in taps(one, shape, build())] == [0] * 3
    one, shape = depthwise((1, 3), padding=(0, 1), points="dense")
    net = network([layer("dw", [one], shape)], (4, 8, 8), points={"dense": DENSE})
    (tile,) = output_tiles(build(pe="subset"), net, net.layers[0])
    assert not any(found.chain for found in tile.passes)
    one = branch(np.ones((1, 4, 1, 1, 3)), groups=4, padding=(0, 1))
    assert [chain for *_, chain in taps(one, (4, 8, 8), build(), kind="maxpool", maximum=True)] == [0] * 3


GEOMETRIES = {
    "3x3": {"kernel": (3, 3), "padding": (1, 1)},
    "3x3, stride 2, asymmetric": {"kernel": (3, 3), "padding": (0, 0, 1, 1), "stride": (2, 2), "size": (4, 4)},
    "5x5": {"kernel": (5, 5), "padding": (2, 2)},
    "1x3, padding on one side": {"kernel": (1, 3), "padding": (0, 2, 0, 0)},
    "2x4, rows apart": {"kernel": (2, 4), "padding": (1, 1, 1, 2), "dilation": (2, 1)},
    "3x2, a column left out": {"kernel": (3, 2), "padding": (1, -1, 1, 2)},
}


@pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES)
@pytest.mark.parametrize(("rows", "cols"), [(4, 4), (8, 4), (4, 8)])
@pytest.mark.parametrize("signed", [False, True])
def test_the_machine_equals_golden(geometry, rows, cols, signed):
    # Behind a layer that leaves the input as it is, which might else be stored in another way.
    first = branch(np.ones((1, 11, 1, 1, 1)), groups=11)
    copied = Tensor((11, 8, 8), 8, signed, 1.0)
    copy = layer("copy", [first], copied.shape, output=copied, low=copied.low, high=copied.high)
    one, shape = depthwise(**geometry, channels=11, words=2, shifts=(0, 2), source="copy")
    net = network([copy, layer("dw", [one], shape, right=np.full(11, 4))], copied.shape, signed=signed)
    config = build(rows=rows, cols=cols, acc_depth=24)
    image = compile_network(net, config)
    chains = Counter(found.chain for found in image.instructions if isinstance(found, Pass))
    assert chains[1] > 8
    x = np.random.default_rng(3).integers(net.input.low, net.input.high + 1, (11, 8, 8))
    result = execute(image, x)
    np.testing.assert_array_equal(result.output, layers.run(net, x[None])["dw"][0])
    assert result.run.cycles == image.cycles
