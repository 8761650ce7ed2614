"""Skips on the machine: no passes, one DRAIN that reads beside what it writes, and what a build refuses."""

import re
from dataclasses import replace

import numpy as np
import pytest

from tests.mapper.small import branch, build, layer, network
from twofold.golden import layers
from twofold.golden.isa import Drain, Pass, decode
from twofold.golden.machine import execute
from twofold.golden.network import INPUT, SkipTensor
from twofold.mapper import FitError, compile_network
from twofold.mapper.bounds import acc_width, accumulator_bits
from twofold.mapper.memory import lifetimes

SIGNED = {"bits": 8, "signed": True}


def skipped(source=INPUT, shift=-1, channels=6, **changes):
    """Two 1x1 convolutions, the second with a skip, over a map that takes several chunks and two planes."""
    ones = np.ones((1, channels, channels, 1, 1))
    values = {"right": np.full(channels, 3)} | changes
    first = layer("first", [branch(ones)], (channels, 5, 9), right=np.full(channels, 3))
    last = layer("last", [branch(5 * ones, source="first")], (channels, 5, 9), skip=SkipTensor(source, shift), **values)
    return network([first, last], (channels, 5, 9), **SIGNED)


def instructions(image, kind):
    lines = image.program[image.layers[-1].first : image.layers[-1].last + 1]
    return [one for one in (decode(image.config, line) for line in lines) if isinstance(one, kind)]


@pytest.mark.parametrize("changes", [{}, {"rows": 2}, {"cols": 2}, {"cols": 8, "requant_units": 4}])
@pytest.mark.parametrize(("source", "shift"), [(INPUT, -1), ("first", 2), (INPUT, -3)])
def test_a_skip_costs_no_pass_and_gives_goldens_integers(source, shift, changes):
    config = build(acc_depth=16, **changes)
    net = skipped(source, shift)
    image, plain = compile_network(net, config), compile_network(replace_skip(net), config)
    assert len(instructions(image, Pass)) == len(instructions(plain, Pass))
    drains = instructions(image, Drain)
    places = {tensor.tensor: tensor.address for tensor in (image.input, image.output)}
    assert {(one.skip, one.skip_shift, one.skip_signed) for one in drains} == {(1, shift, int(source == INPUT))}
    if source == INPUT:
        depth = 1 << Drain.record(config)["address"].width
        distance = places[net.input] - places[net.output.output]
        assert {one.skip_offset for one in drains} == {distance % depth}
    assert {one.skip for one in instructions(plain, Drain)} == {0}
    # A group a cycle is enough for a line of two groups; a line of one waits.
    slower = sum(one.position_cycles(config) > one.groups + 1 for one in drains)
    assert bool(slower) == (changes.get("requant_units", 1) == 4)
    x = np.random.default_rng(0).integers(-128, 128, (1, *net.input.shape))
    found = execute(image, x[0])
    np.testing.assert_array_equal(found.output, layers.run(net, x)["last"][0])
    assert found.run.cycles == image.cycles


def replace_skip(net):
    return replace(net, layers=(net.layers[0], replace(net.layers[1], skip=None)))


def test_a_skips_source_lives_until_it_is_read():
    assert lifetimes(skipped())[INPUT] == (0, 1)


def test_the_scaled_sum_counts_with_its_skip():
    # Sums of -1 * 6 * 255 to 0, twice that scaled, with -128 << 8 to 127 << 8 beside: -35,828 takes 17 bits of 42.
    config = build()
    net = skipped(shift=5, multiplier=np.full(6, 2))
    assert accumulator_bits(config, net, net.output) == 12
    assert acc_width(config, net, net.output) == 12
    # -128 << 36 takes 44 bits, and less the sum one more.
    far = skipped(shift=-4, right=np.full(6, 40))
    assert acc_width(config, far, far.output) == 28 + 45 - 42


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shift": -9, "right": np.full(6, 9)}, "Layer 'last': shift of the skip must be -8 to 7, not -9"),
        ({"shift": 8}, "Layer 'last': shift of the skip must be -8 to 7, not 8"),
        ({"shift": -4, "right": np.full(6, 40)}, "Layer 'last': acc_width must be at least 31, not 28"),
    ],
)
def test_what_a_build_cannot_add_is_refused_by_name(changes, message):
    with pytest.raises(FitError, match=f"^{re.escape(message)}$"):
        compile_network(skipped(**changes), build())
