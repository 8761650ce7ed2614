import numpy as np
import pytest

from twofold.bench import golden_speed
from twofold.golden import layers


@pytest.fixture(scope="module")
def network():
    return golden_speed.resnet20()


def test_resnet20_has_the_published_size(network):
    assert golden_speed.macs(network) == 40_551_040  # 40.55 M without identities, as the ResNet paper's layers give
    assert [layer.output.shape for layer in network.layers][::6] == [
        (16, 32, 32),
        (16, 32, 32),
        (32, 16, 16),
        (64, 8, 8),
    ]


def test_the_plain_peer_computes_the_same_integers(network):
    x = np.random.default_rng(2).integers(-128, 128, (2, 3, 32, 32))
    expected = layers.run(network, x)
    for name, values in golden_speed.run_plain(network, x).items():
        np.testing.assert_array_equal(values, expected[name])
        assert len(np.unique(values)) > 4
