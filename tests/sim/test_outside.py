"""Networks larger than the chip on RTL: golden's integers, and the predicted cycles for any latency of the memory."""

from dataclasses import replace

import numpy as np
import pytest

from tests.support.outside import CYCLES, LATENCIES, OUTSIDE, outside_network
from twofold.golden import layers as golden_layers
from twofold.golden.order import channels_last
from twofold.golden.timing import cycles
from twofold.mapper.compiler import compile_network
from twofold.sim.fast import build_machine, run_images
from twofold.sim.outside import run_outside
from twofold.sim.random_check import check_network


@pytest.fixture(scope="module")
def program():
    return build_machine(OUTSIDE)


def case(seed):
    """A network, its image, two inputs and every layer's integers."""
    network = outside_network(seed)
    network = replace(network, orders={one.name: channels_last(one.output.shape) for one in network.outputs[:1]})
    image = compile_network(network, OUTSIDE)
    rng = np.random.default_rng(seed)
    inputs = rng.integers(network.input.low, network.input.high + 1, size=(2, *network.input.shape))
    return network, image, inputs, golden_layers.run(network, inputs)


def same(network, runs, expected):
    for n, run in enumerate(runs):
        for wanted, output in zip(network.results(expected), run.outputs, strict=True):
            np.testing.assert_array_equal(output, wanted[n])
        for name, tensor in run.layers.items():
            np.testing.assert_array_equal(tensor, expected[name][n], name)


@pytest.mark.parametrize("seed", CYCLES)
def test_integers_and_cycles(program, seed):
    network, image, inputs, expected = case(seed)
    for latency, wanted in zip(LATENCIES, CYCLES[seed], strict=True):
        runs = run_outside(image, inputs, program, latency=latency)
        same(network, runs, expected)
        assert {run.cycles for run in runs} == {cycles(image.steps(latency))} == {wanted}
        assert {run.passes for run in runs} == {image.passes}


def test_integers_with_pauses_everywhere(program):
    network, image, inputs, expected = case(6)
    for pause, seed in ((60, 1), (200, 2)):
        same(network, run_outside(image, inputs, program, latency=7, pause=pause, seed=seed), expected)


def test_the_command_checks_such_networks_too(program):
    network, image, inputs, expected = case(9)
    result = check_network(OUTSIDE, network, 5, image=image, program=program)
    assert (result.message, result.cycles) == ("", 3 * image.cycles)
    batch = run_images(image, inputs, every_layer=True, program=program)
    np.testing.assert_array_equal(batch.output, network.results(expected)[0])
    assert len(batch.layers) == 3 and batch.cycles.tolist() == [image.cycles] * 2
