import numpy as np
import pytest

from tests.mapper import networks
from tests.mapper.small import DENSE, branch, build, layer, network, pointwise
from twofold.golden.formats import PointSet
from twofold.golden.isa import Drain, Pass, Window
from twofold.golden.machine import execute
from twofold.golden.timing import timing
from twofold.mapper import compile_network


def names(image):
    return [one.opcode.name for one in image.instructions]


def passes(image):
    return [one for one in image.instructions if isinstance(one, Pass)]


def test_one_window_serves_the_tiles_of_a_chunk():
    image = compile_network(pointwise(channels=8, size=(7, 1)), build(acc_depth=4))
    tiles = ["PASS", "DRAIN"] * 2
    # Chunks of 4 and 3 rows, each with a window of its own.
    assert names(image) == ["WINDOW", *tiles, "WINDOW", *tiles, "OUTPUT", "END"]


def test_a_tile_begins_with_the_window_that_the_one_before_ended_with():
    small = layer("small", [branch(np.ones((1, 4, 4, 1, 1)), stride=(2, 2))], (4, 2, 2))
    branches = [branch(np.ones((1, 8, 4, 1, 1)), stride=(2, 2)), branch(np.ones((1, 8, 4, 1, 1)), source="small")]
    image = compile_network(network([small, layer("both", branches, (8, 2, 2))]), build())
    steps = [one.step_x for one in image.instructions if isinstance(one, Window)]
    assert steps == [2, 1, 2]
    assert names(image) == [
        *("WINDOW", "PASS", "DRAIN"),
        *("PASS", "WINDOW", "PASS", "DRAIN"),
        *("PASS", "WINDOW", "PASS", "DRAIN"),
        *("OUTPUT", "END"),
    ]


def loads(image):
    """Of every pass the first weight line and number of those that it loads, or None."""
    return [None if one.kept else (one.weights, one.groups + 1) for one in passes(image)]


@pytest.mark.parametrize("maximum", [False, True])
def test_a_pooling_loads_its_tile_once(maximum):
    kernel = branch(np.ones((1, 4, 1, 4, 4)), groups=4)
    net = network([layer("pool", [kernel], (4, 1, 1), maximum=maximum, right=np.full(4, 4 * (not maximum)))])
    image = compile_network(net, build())
    assert loads(image) == [(0, 4)] + [None] * 15
    x = np.arange(64).reshape(4, 4, 4)
    wanted = x.max(axis=(1, 2)) if maximum else [8, 24, 40, 56]  # 7.5, 23.5, ...: to even
    assert execute(image, x).output[:, 0, 0].tolist() == list(wanted)
    steps = timing(image.config, image.instructions)
    assert image.cycles < steps[2].accepted + 16 * image.config.min_pass + 40


def test_a_tile_that_waits_for_the_next_chunk_is_not_loaded_again():
    codes = np.arange(1, 4).reshape(1, 1, 1, 1, 3) * np.ones((1, 4, 4, 1, 1), dtype=int)
    net = network([layer("conv", [branch(codes, padding=(0, 1))], (4, 4, 4))])
    image = compile_network(net, build(acc_depth=8))
    # Three kernel positions; the second chunk begins with the tile that the first ended with.
    assert loads(image) == [(0, 4), (4, 4), (8, 4), None, (0, 4), (4, 4)]
    assert [one.first for one in passes(image)] == [1, 0, 0, 1, 0, 0]
    x = np.ones((4, 4, 4), dtype=int)
    assert execute(image, x).output[0].tolist() == [[24, 28, 28, 12]] * 4  # 4 channels; codes 1, 2, 3 are 1, 2, 4


def test_output_tiles_are_the_outer_loop_where_that_saves_loads():
    lanes, half = np.arange(8).reshape(1, 1, 8, 1, 1), np.arange(16).reshape(1, 16, 1, 1, 1) // 8
    codes = np.arange(1, 4) + (half + lanes // 4 * lanes) % 2 * 4
    net = network([layer("conv", [branch(codes, padding=(0, 1))], (16, 2, 8))], (8, 2, 8))
    image = compile_network(net, build(acc_depth=4, cols=8, requant_units=4))
    # Four chunks of 4 positions, fewer than a tile's 8 columns; only a tile's first has six loads.
    assert [one is None for one in loads(image)] == ([False] * 6 + [True, *[False] * 5] * 3) * 2
    assert [one.channels for one in image.instructions if isinstance(one, Drain)] == [0] * 4 + [2] * 4
    # Where a load is hidden behind the pass before nothing is gained.
    image = compile_network(net, build(acc_depth=8, cols=8, requant_units=4))
    assert [one.channels for one in image.instructions if isinstance(one, Drain)] == [0, 2] * 2


def test_what_the_array_holds_is_codes_and_point_set():
    points = {"d": DENSE, "e": PointSet(DENSE.fmt, (1, 2, 4, 32))}
    codes = np.ones((1, 4, 4, 1, 1))
    branches = [branch(codes, points="d"), branch(codes, points="e"), branch(codes, points="d", shifts=(2,))]
    image = compile_network(network([layer("conv", branches, (4, 4, 4))], points=points), build(pe="subset"))
    # One block: with another set it is another tile, and equal tiles follow each other.
    assert [(one.kept, one.set, one.shift) for one in passes(image)][:3] == [(0, 0, 0), (1, 0, 2), (0, 1, 0)]


def test_windows_change_once_a_branch_whatever_tiles_branches_share():
    small = layer("small", [branch(np.full((1, 8, 8, 1, 1), 3), stride=(2, 2))], (8, 2, 2))
    codes = np.repeat([1, 2], 4) * np.ones((1, 4, 8), dtype=int)
    one = branch(codes.reshape(1, 4, 8, 1, 1), stride=(2, 2))
    other = branch(codes[:, :, ::-1].reshape(1, 4, 8, 1, 1), source="small")
    odd = layer("odd", [branch(np.full((1, 4, 8, 2, 2), 3))], (4, 3, 3))
    image = compile_network(network([small, odd, layer("both", [one, other], (4, 2, 2))], (8, 4, 4)), build())
    part = image.instructions[image.layers[2].first : image.layers[2].last + 1]
    assert [one.opcode.name for one in part] == ["WINDOW", "PASS", "PASS", "WINDOW", "PASS", "PASS", "DRAIN"]


def test_what_need_not_wait_comes_before_a_tile_that_is_held_and_must():
    first = layer("first", [branch(np.ones((1, 8, 4, 1, 1)))], (8, 4, 4))
    codes = np.arange(1, 4) * np.ones((1, 4, 8, 1, 3), dtype=int)
    second = layer("second", [branch(codes, source="first", padding=(0, 1))], (4, 4, 4))
    image = compile_network(network([first, second]), build(acc_depth=16))
    # Three tiles, each for two groups of channels; the second group is what the first layer writes last.
    assert [one.wait for one in passes(image)[2:8]] == [0, 0, 0, 1, 0, 0]


def test_part_of_what_the_array_holds_is_held():
    wide, narrow = np.ones((1, 4, 4, 1, 1)), np.ones((1, 2, 4, 1, 1))
    image = compile_network(network([layer("conv", [branch(wide), branch(narrow)], (4, 4, 4))]), build())
    assert loads(image) == [(0, 4), None]
    assert execute(image, np.ones((4, 4, 4), dtype=int)).output[:, 0, 0].tolist() == [8, 8, 4, 4]


def test_identical_tiles_share_weight_and_channel_lines():
    image = compile_network(pointwise(channels=8), build())
    assert len(image.weight) == 4
    assert len(image.channel) == 4


def test_columns_that_no_weight_reaches_are_cleared():
    codes = np.zeros((1, 8, 4, 1, 1))
    codes[0, :2] = 1
    bias = np.arange(8)
    net = network([layer("conv", [branch(codes[:, :2])], (8, 4, 4), bias=bias)])
    image = compile_network(net, build())
    assert [(one.first, one.row_mask, one.col_mask) for one in passes(image)] == [
        (1, 0b1111, 0b0011),
        (1, 0, 0b1100),
        (1, 0, 0b1111),
    ]
    result = execute(image, np.full((4, 4, 4), 3))
    assert result.output[:, 0, 0].tolist() == [12, 13, 2, 3, 4, 5, 6, 7]


def test_a_term_that_meets_fresh_and_started_columns_is_split():
    branches = [branch(np.ones((1, 3, 4, 1, 1)), channel=0), branch(np.ones((1, 3, 4, 1, 1)), channel=1)]
    image = compile_network(network([layer("conv", branches, (4, 4, 4))]), build())
    assert [(one.first, one.col_mask) for one in passes(image)][:3] == [(1, 0b0111), (1, 0b1000), (0, 0b0110)]
    assert execute(image, np.ones((4, 4, 4), dtype=int)).output[:, 0, 0].tolist() == [4, 8, 8, 4]


def test_wide_terms_start_the_columns_of_narrow_ones():
    branches = [branch(np.ones((1, 2, 4, 1, 1)), channel=1), branch(np.ones((1, 4, 4, 1, 1)))]
    image = compile_network(network([layer("conv", branches, (4, 4, 4))]), build())
    assert [(one.first, one.col_mask) for one in passes(image)][:2] == [(1, 0b1111), (0, 0b0110)]


def test_groups_without_a_zero_each_start_their_columns():
    codes = np.arange(8).reshape(1, 4, 2, 1, 1)
    net = network([layer("grouped", [branch(codes, groups=2, points="d")], (4, 4, 4))], points={"d": DENSE})
    image = compile_network(net, build(pe="subset"))
    assert [(one.first, one.row_mask, one.col_mask) for one in passes(image)] == [
        (1, 0b0011, 0b0011),
        (1, 0b1100, 0b1100),
    ]


def test_a_layer_waits_for_what_was_written_last_and_only_for_that():
    first = layer("first", [branch(np.ones((1, 8, 4, 1, 1)))], (8, 4, 4))
    second = layer("second", [branch(np.ones((1, 4, 8, 1, 1)), source="first")], (4, 4, 4))
    image = compile_network(network([first, second]), build(acc_depth=16))
    # The second layer reads channels 0 to 3, done long ago, before channels 4 to 7.
    assert [one.wait for one in passes(image)] == [0, 0, 0, 1]


def test_padding_beside_a_line_that_is_being_written_is_no_reason_to_wait():
    first = layer("first", [branch(np.ones((1, 4, 4, 1, 1)))], (4, 4, 4))
    second = layer("second", [branch(np.ones((1, 4, 4, 1, 3)), source="first", padding=(0, 1))], (4, 4, 4))
    image = compile_network(network([first, second]), build(acc_depth=8))
    # Rows 2 and 3 of `first` may still be written when rows 0 and 1 of `second` begin; column 4 of row 1 is padding.
    assert [one.wait for one in passes(image)] == [0] * 8


@pytest.mark.parametrize("seed", range(40))
def test_no_pass_reads_what_is_still_being_written(seed):
    rng = np.random.default_rng(seed)
    config = networks.build(rng)
    image = compile_network(networks.network(rng, config), config)
    steps = timing(config, image.instructions)
    window = None
    writing: set[int] = set()
    idle = waits = 0
    for one, step in zip(image.instructions, steps, strict=True):
        if isinstance(one, Window):
            window = one
        elif isinstance(one, Pass):
            waits += one.wait
            if step.accepted < idle and one.row_mask:
                assert not writing & set(reads(config, window, one))
        elif isinstance(one, Drain):
            positions = window.width * window.height
            work = positions * (one.groups + 1)
            idle = step.accepted + config.array_latency + work + config.requant_latency
            writing = set(writes(config, window, one))
    assert waits <= len(image.layers)


def reads(config, window, one):
    columns = [j * window.step_x for j in range(window.width)]
    if one.chain:
        columns = range(columns[-1] + 3)
    for i in range(window.height):
        for column in columns:
            y, x = one.y + i * window.step_y, one.x + column
            if 0 <= y < window.in_height and 0 <= x < window.in_width:
                yield (one.address + i * window.row_step + column) % config.feature_depth


def writes(config, window, one):
    for i in range(window.height):
        for j in range(window.width):
            for column in range((one.groups + 1) * config.requant_units):
                plane = (one.lane + column) // config.rows * one.plane
                row = (window.width - 1) * window.out_step + one.row_step
                yield one.address + plane + i * row + j * window.out_step
