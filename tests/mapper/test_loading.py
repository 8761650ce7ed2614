"""Weight lines of several columns: what lies in them, what passes say of them, and what they save."""

from itertools import pairwise

import numpy as np
import pytest

from tests.mapper.small import branch, build, layer, network, pointwise
from twofold.golden.config import load_config
from twofold.golden.formats import PointSet
from twofold.golden.isa import Pass, Section
from twofold.golden.machine import execute
from twofold.golden.network import INPUT
from twofold.mapper import compile_network


def loads(image):
    """Of every pass the first weight line and number of those that it loads, or None."""
    return [None if one.kept else (one.weights, one.groups + 1) for one in image.instructions if isinstance(one, Pass)]


def test_a_line_holds_its_columns_one_after_the_other_and_the_last_line_code_0():
    codes = np.array([[1, 2], [3, 4], [5, 6]]).reshape(1, 3, 2, 1, 1)
    image = compile_network(network([layer("conv", [branch(codes)], (3, 4, 4))], (2, 4, 4)), build(load_columns=2))
    assert loads(image) == [(0, 2)]
    assert image.weight == (0o0043_0021, 0o0000_0065)
    whole = compile_network(network([layer("conv", [branch(codes)], (3, 4, 4))], (2, 4, 4)), build(load_columns=4))
    assert loads(whole) == [(0, 1)] and whole.weight == (0o0000_0065_0043_0021,)


def test_a_tile_of_ragged_columns_is_kept_and_loaded_as_whole_lines():
    codes = np.arange(1, 4).reshape(1, 1, 1, 1, 3) * np.ones((1, 3, 4, 1, 1), dtype=int)
    net = network([layer("conv", [branch(codes, padding=(0, 1))], (3, 4, 4))])
    image = compile_network(net, build(load_columns=2, acc_depth=8))
    # Three kernel positions; the second chunk begins with the tile that the first ended with.
    assert loads(image) == [(0, 2), (2, 2), (4, 2), None, (0, 2), (2, 2)]
    result = execute(image, np.ones((4, 4, 4), dtype=int))
    assert result.output[:, 0].tolist() == [[24, 28, 28, 12]] * 3  # 4 channels; codes 1, 2, 3 are 1, 2, 4
    assert result.run.cycles == image.cycles


@pytest.mark.parametrize("at_once", [1, 2, 4, 8])
def test_columns_that_no_weight_reaches_are_cleared_line_by_line(at_once):
    image = compile_network(_some_channels(), build(cols=8, load_columns=at_once))
    assert loads(image)[-1][1] == -(-5 // at_once)
    result = execute(image, np.full((4, 4, 4), 3))
    assert result.output[:, 0, 0].tolist() == [0, 0, 0, 0, 0, 12, 12, 12]
    assert result.run.cycles == image.cycles


def _some_channels():
    return network([layer("conv", [branch(np.ones((1, 3, 4, 1, 1)), channel=5)], (8, 4, 4))])


def test_one_position_at_a_time_takes_the_cycles_of_reading_its_lines():
    """MLPerf Tiny's autoencoder, a word a weight, on the build for it."""
    config = load_config("linear_16x16")
    sizes = (640, *[128] * 4, 8, *[128] * 4, 640)
    rng = np.random.default_rng(0)
    layers = [
        layer(
            f"layer{n}",
            [branch(rng.integers(0, 16, (1, outputs, inputs, 1, 1)), f"layer{n - 1}" if n else INPUT, "points")],
            (outputs, 1, 1),
            kind="linear",
        )
        for n, (inputs, outputs) in enumerate(pairwise(sizes))
    ]
    points = PointSet(config.fmt, (0, 1, 2, 3, 4, 6, 8, 16))
    image = compile_network(network(layers, (640, 1, 1), {"points": points}), config)
    lines = image.used_lines(Section.WEIGHT)
    assert lines == 1032 * 4 + 8 * 2  # tiles of 16 columns, and of 8
    assert image.cycles < 1.5 * lines


def test_a_wider_line_is_as_many_beats_and_bits_as_its_columns():
    image = compile_network(pointwise(), build(load_columns=4))
    assert image.weight == (0o1111_1111_1111_1111,)
    beats = [beat for beat in image.beats if beat == 0o1111_1111_1111_1111 & 0xFFFFFFFF]
    assert len(beats) == 1 and 0o1111_1111_1111_1111 >> 32 in image.beats
