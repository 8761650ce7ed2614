"""Networks larger than the chip on RTL: golden's integers, and the predicted cycles for any latency of the memory."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from twofold.boards.device import Device
from twofold.golden import layers as golden_layers
from twofold.golden.config import MACHINE_VERSION, load_config
from twofold.golden.order import channels_last
from twofold.golden.registers import ID_VALUE
from twofold.golden.timing import cycles
from twofold.kit.package import package_files
from twofold.kit.testbench import Vectors
from twofold.mapper.compiler import compile_network
from twofold.sim.fast import build_machine, run_images
from twofold.sim.outside import run_outside
from twofold.sim.random_check import check_network
from twofold.testing.random_network import random_network

#: One machine for all: few feature lines, so that most tensors of its networks lie outside.
CONFIG = replace(
    load_config("log_4x4"),
    name="outside_4x4",
    memory="axi4",
    bus_bits=64,
    acc_width=40,
    max_side=64,
    feature_depth=128,
    weight_depth=1024,
    channel_depth=64,
    program_depth=256,
)
DEEP = replace(CONFIG, memory="on_chip", feature_depth=1 << 14, channel_depth=2048, program_depth=1 << 15)


@pytest.fixture(scope="module")
def program():
    return build_machine(CONFIG)


def case(seed):
    """A network, its image, two inputs and every layer's integers."""
    network = random_network(seed, DEEP, layers=4, max_side=16)
    network = replace(network, orders={one.name: channels_last(one.output.shape) for one in network.outputs[:1]})
    image = compile_network(network, CONFIG)
    rng = np.random.default_rng(seed)
    inputs = rng.integers(network.input.low, network.input.high + 1, size=(2, *network.input.shape))
    return network, image, inputs, golden_layers.run(network, inputs)


def same(network, runs, expected):
    for n, run in enumerate(runs):
        for wanted, output in zip(network.results(expected), run.outputs, strict=True):
            np.testing.assert_array_equal(output, wanted[n])
        for name, tensor in run.layers.items():
            np.testing.assert_array_equal(tensor, expected[name][n], name)


@pytest.mark.parametrize("seed", [6, 9, 15, 18, 29, 26])
def test_integers_and_cycles(program, seed):
    network, image, inputs, expected = case(seed)
    for latency in (1, 32, 150):
        runs = run_outside(image, inputs, program, latency=latency)
        same(network, runs, expected)
        assert {run.cycles for run in runs} == {cycles(image.steps(latency))}
        assert {run.passes for run in runs} == {image.passes}


def test_integers_with_pauses_everywhere(program):
    network, image, inputs, expected = case(6)
    for pause, seed in ((60, 1), (200, 2)):
        same(network, run_outside(image, inputs, program, latency=7, pause=pause, seed=seed), expected)


def test_the_command_checks_such_networks_too(program):
    network, image, inputs, expected = case(9)
    result = check_network(CONFIG, network, 5, image=image, program=program)
    assert (result.message, result.cycles) == ("", 3 * image.cycles)
    batch = run_images(image, inputs, every_layer=True, program=program)
    np.testing.assert_array_equal(batch.output, network.results(expected)[0])
    assert len(batch.layers) == 3 and batch.cycles.tolist() == [image.cycles] * 2


def test_packages_and_hosts_refuse_such_builds():
    _, image, inputs, _ = case(9)
    message = "must have memory = 'on_chip', not 'axi4'"
    with pytest.raises(ValueError, match=f"^Build of a package {message}$"):
        package_files(Vectors(image, inputs, (inputs,)))
    registers = {"ID": ID_VALUE, "VERSION": MACHINE_VERSION, "BUILD": CONFIG.build_hash, "STATUS": 0}
    link = SimpleNamespace(read=registers.__getitem__, write=lambda name, value: None, close=lambda: None)
    with pytest.raises(ValueError, match=f"^Build {message}$"):
        Device(link).load(image)
