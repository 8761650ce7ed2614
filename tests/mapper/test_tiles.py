import numpy as np
import pytest

from tests.mapper.small import DENSE, branch, build, layer, network, pointwise
from twofold.mapper.tiles import output_tiles


def passes(net, config, number=0):
    return [one for tile in output_tiles(config, net, net.layers[number]) for one in tile.passes]


def test_ragged_tiles_hold_only_what_there_is():
    tiles = list(output_tiles(build(), pointwise(channels=6, inputs=5), pointwise(channels=6, inputs=5).layers[0]))
    assert [(tile.start, tile.columns) for tile in tiles] == [(0, 4), (4, 2)]
    found = [(one.group, one.row_mask, one.col_mask, len(one.block)) for tile in tiles for one in tile.passes]
    assert found == [(0, 0b1111, 0b1111, 4), (1, 0b0001, 0b1111, 4), (0, 0b1111, 0b11, 2), (1, 0b0001, 0b11, 2)]
    # Lane 0 in the low bits; lanes beyond the tensor hold code 0.
    assert tiles[0].passes[0].block == (0b001_001_001_001,) * 4
    assert tiles[0].passes[1].block == (0b001,) * 4


def test_words_of_zeros_are_not_scheduled():
    codes = np.zeros((2, 8, 4, 1, 1))
    codes[0] = 1
    codes[1, 5, 2] = 5
    codes[1, 6, 1] = 2
    net = network([layer("conv", [branch(codes, shifts=(0, 3))], (8, 4, 4))])
    tiles = list(output_tiles(build(), net, net.layers[0]))
    assert [[one.shift for one in tile.passes] for tile in tiles] == [[0], [0, 3]]
    # A product of +1 holds 768 besides, one of 0 or -1 1023, one of +2 513; shifted with its word.
    first, zeros = 4 * 768, 4 * 1023 << 3
    assert tiles[0].correction.tolist() == [-first] * 4
    assert tiles[0].correction.dtype == np.int64
    assert tiles[1].correction.tolist() == [-first - zeros] * 2 + [-first - zeros + (510 << 3), -first - zeros]


def test_tiles_off_the_diagonal_of_a_depthwise_layer_are_not_scheduled():
    net = network([layer("dw", [branch(np.ones((1, 8, 1, 1, 1)), groups=8)], (8, 4, 4))], (8, 4, 4))
    found = passes(net, build())
    assert [(one.group, one.block) for one in found] == [
        (0, (0o1, 0o10, 0o100, 0o1000)),
        (1, (0o1, 0o10, 0o100, 0o1000)),
    ]
    assert len(passes(net, build(cols=8))) == 2
    assert len(passes(net, build(rows=8))) == 2


def test_groups_of_a_set_without_zero_take_turns_by_masks():
    codes = np.zeros((1, 4, 2, 1, 1))
    net = network([layer("grouped", [branch(codes, groups=2, points="dense")], (4, 4, 4))], points={"dense": DENSE})
    found = passes(net, build(pe="subset"))
    assert [(one.row_mask, one.col_mask) for one in found] == [(0b0011, 0b0011), (0b1100, 0b1100)]


def test_channels_that_are_not_read_have_no_lane_and_no_pass():
    codes = np.arange(1, 4).reshape(1, 1, 3, 1, 1).repeat(2, axis=1)
    net = network([layer("conv", [branch(codes, channels=(9, 1, 10))], (2, 4, 4))], (12, 4, 4))
    found = [(one.group, one.row_mask, one.block) for one in passes(net, build())]
    assert found == [(0, 0b0010, (0o0020,) * 2), (2, 0b0110, (0o0310,) * 2)]


def test_a_shuffled_depthwise_layer_reads_each_line_once():
    one = branch(np.arange(1, 5).reshape(1, 4, 1, 1, 1), groups=4, channels=(0, 4, 1, 5))
    found = passes(network([layer("dw", [one], (4, 4, 4))], (8, 4, 4)), build())
    assert [(one.group, one.row_mask, one.block) for one in found] == [
        (0, 0b0011, (0o1, 0, 0o30, 0)),
        (1, 0b0011, (0, 0o2, 0, 0o40)),
    ]


def test_kernel_positions_that_see_only_padding_are_not_scheduled():
    net = network([layer("conv", [branch(np.ones((1, 4, 4, 3, 3)), padding=(1, 1))], (4, 1, 2))], (4, 1, 2))
    assert [one.tap for one in passes(net, build())] == [(1, 0), (1, 1), (1, 2)]


def test_a_maximum_starts_only_columns_that_have_an_input():
    codes = np.ones((1, 8, 1, 2, 1))
    pool = layer("pool", [branch(codes, groups=8, stride=(2, 1))], (8, 2, 4), kind="maxpool", maximum=True)
    net = network([pool], (8, 4, 4))
    found = passes(net, build(cols=8))
    assert [(one.group, one.tap, one.col_mask) for one in found] == [
        (0, (0, 0), 0x0F),
        (0, (1, 0), 0x0F),
        (1, (0, 0), 0xF0),
        (1, (1, 0), 0xF0),
    ]


def test_the_correction_of_a_maximum_counts_once():
    codes = np.full((1, 4, 1, 2, 1), 5)
    pool = layer("pool", [branch(codes, groups=4, shifts=(2,))], (4, 3, 4), kind="maxpool", maximum=True)
    (tile,) = output_tiles(build(), network([pool]), pool)
    assert tile.correction.tolist() == [-4 * 1023 << 2] * 4


@pytest.mark.parametrize("channel", [0, 1, 4])
def test_a_branch_for_some_channels_loads_up_to_its_last_column(channel):
    branches = [branch(np.ones((1, 8, 4, 1, 1))), branch(np.ones((1, 3, 4, 1, 1)), channel=channel)]
    found = passes(network([layer("conv", branches, (8, 4, 4))]), build(cols=8))
    assert found[1].col_mask == 0b111 << channel
    assert len(found[1].block) == 3 + channel
