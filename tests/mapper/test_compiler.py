import numpy as np
import pytest

from golden import layers
from golden.machine import execute
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
