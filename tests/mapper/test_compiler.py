from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.mapper import networks
from tests.mapper.small import branch, build, layer, network
from twofold.golden import layers
from twofold.golden.config import load_config
from twofold.golden.isa import Opcode
from twofold.golden.machine import Machine, execute, infer
from twofold.golden.network import INPUT
from twofold.mapper import compile_network
from twofold.mapper.macs import useful_macs
from twofold.testing.random_network import random_inputs, random_network


@pytest.mark.parametrize("seed", range(60))
def test_machine_equals_golden_at_every_layer(seed):
    rng = np.random.default_rng(seed)
    config = networks.build(rng)
    network = networks.network(rng, config)
    image = compile_network(network, config)
    tensor = network.input
    x = rng.integers(tensor.low, tensor.high + 1, tensor.shape)
    result = execute(image, x)
    expected = layers.run(network, x[None])
    for name, values in expected.items():
        np.testing.assert_array_equal(result.tensors[name], values[0], err_msg=name)
    np.testing.assert_array_equal(result.output, expected[network.output.name][0])
    assert result.run.cycles == image.cycles
    assert result.run.passes == image.passes


@pytest.mark.parametrize(
    "path", sorted((Path(__file__).parents[2] / "configs").glob("*.toml")), ids=lambda path: path.stem
)
def test_every_build_of_configs_runs_random_networks(path):
    config = load_config(path)
    machine = Machine(config)
    for seed in range(3):
        network = random_network(seed, config)
        image = compile_network(network, config)
        images = random_inputs(seed, network, 2)
        expected = layers.run(network, images)
        for number, x in enumerate(images):
            result = infer(machine, image, x) if number else execute(image, x, machine)
            for name, values in expected.items():
                np.testing.assert_array_equal(result.tensors[name], values[number], err_msg=f"{seed} {name}")
            assert result.run.cycles == image.cycles


def test_layers_know_their_lines_of_the_program():
    first = layer("first", [branch(np.ones((1, 4, 4, 1, 1)))], (4, 4, 4))
    second = layer("second", [branch(np.ones((1, 8, 4, 1, 1)), source="first")], (8, 4, 4))
    image = compile_network(network([first, second]), build())
    opcodes = [one.opcode for one in image.instructions]
    assert opcodes == [
        *(Opcode.WINDOW, Opcode.PASS, Opcode.DRAIN),
        *(Opcode.PASS, Opcode.DRAIN, Opcode.PASS, Opcode.DRAIN),
        *(Opcode.OUTPUT, Opcode.END),
    ]
    assert [(one.name, one.first, one.last) for one in image.layers] == [("first", 0, 2), ("second", 3, 6)]


def test_outputs_are_sent_in_their_order_and_none_is_overwritten():
    layers_ = [
        layer(name, [branch(n * np.eye(4).reshape(1, 4, 4, 1, 1), source=source)], (4, 4, 4))
        for n, (name, source) in enumerate([("a", INPUT), ("b", "a"), ("c", "b")], start=1)
    ]
    net = replace(network(layers_), heads=("c", "a"))
    image = compile_network(net, build())
    assert [one.opcode for one in image.instructions[-3:]] == [Opcode.OUTPUT, Opcode.OUTPUT, Opcode.END]
    x = np.arange(64).reshape(4, 4, 4) % 3
    result = execute(image, x)
    expected = layers.run(net, x[None])
    assert len(result.run.frames) == 2
    for name, tensor in zip(net.heads, result.outputs, strict=True):
        np.testing.assert_array_equal(tensor, expected[name][0])


@pytest.mark.parametrize(
    ("kind", "branches", "expected"),
    [
        ("conv2d", [branch(np.ones((1, 8, 4, 3, 3)), padding=(1, 1))], 8 * 4 * 9 * 16),
        ("conv2d", [branch(np.ones((2, 8, 4, 1, 1)), shifts=(0, 3))], 8 * 4 * 16),
        ("linear", [branch(np.ones((1, 8, 4, 1, 1)))], 8 * 4 * 16),
        ("add", [branch(np.ones((1, 8, 4, 1, 1)))], 0),
        ("conv2d", [branch(np.ones((1, 8, 1, 1, 1)), groups=8), branch(np.ones((1, 8, 1, 1, 1)), groups=8)], 8 * 16),
        ("conv2d", [branch(np.ones((1, 8, 4, 1, 1))), branch(np.ones((1, 8, 1, 1, 1)), groups=8)], 8 * 4 * 16),
        ("conv2d", [branch(np.ones((1, 8, 4, 1, 1))), branch(np.ones((1, 8, 4, 1, 1)))], 2 * 8 * 4 * 16),
        (
            "conv2d",
            [branch(np.ones((1, 8, 4, 1, 1))), branch(np.ones((1, 8, 1, 3, 1)), groups=8)],
            8 * 4 * 16 + 8 * 3 * 16,
        ),
    ],
)
def test_macs_are_those_that_a_user_counts(kind, branches, expected):
    assert useful_macs(layer("one", branches, (8, 4, 4), kind=kind)) == expected
