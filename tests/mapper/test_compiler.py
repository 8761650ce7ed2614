from pathlib import Path

import numpy as np
import pytest

from golden import layers
from golden.config import load_config
from golden.machine import Machine, execute, infer
from golden.random_network import random_inputs, random_network
from mapper import compile_network
from tests.mapper import networks


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
        machine.write(image.beats)
        images = random_inputs(seed, network, 2)
        expected = layers.run(network, images)
        for number, x in enumerate(images):
            result = infer(machine, image, x)
            for name, values in expected.items():
                np.testing.assert_array_equal(result.tensors[name], values[number], err_msg=f"{seed} {name}")
            assert result.run.cycles == image.cycles
