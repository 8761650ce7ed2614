import numpy as np
import pytest

from tests.mapper import networks
from tests.mapper.small import branch, build, layer, network, pointwise
from twofold.golden import layers
from twofold.mapper.bounds import accumulator_bits, source_range


def test_range_of_a_source_is_its_clip():
    net = pointwise(low=3, high=9)
    assert source_range(net, "input") == (0, 255)
    assert source_range(net, "conv") == (3, 9)


@pytest.mark.parametrize(
    ("code", "inputs", "bias", "bits"),
    [
        (1, 4, 0, 11),  # 4 * 255 = 1020
        (1, 4, 3, 11),  # 1023
        (1, 4, 4, 12),  # 1024
        (5, 4, -4, 11),  # -1024
        (5, 4, -5, 12),
        (3, 1, 0, 11),  # 4 * 255 again
        (0, 4, 0, 1),
    ],
)
def test_sums_by_hand(code, inputs, bias, bits):
    net = pointwise(code=code, inputs=inputs, bias=np.full(4, bias))
    assert accumulator_bits(build(), net, net.layers[0]) == bits


def test_branches_add_up_where_they_meet():
    branches = [branch(np.ones((1, 4, 4, 1, 1)), shifts=(2,)), branch(np.full((1, 1, 4, 1, 1), 5), channel=2)]
    net = network([layer("conv", branches, (4, 4, 4))])
    assert accumulator_bits(build(), net, net.layers[0]) == 13  # 4080, and -1020 beside it
    signed = network([layer("conv", branches, (4, 4, 4))], signed=True)
    assert accumulator_bits(build(), signed, signed.layers[0]) == 13  # -4 * 128 * 4 - 4 * 127 = -2556


def test_negative_weights_of_signed_activations_reach_high():
    net = network([layer("conv", [branch(np.full((1, 4, 4, 1, 1), 7))], (4, 4, 4))], signed=True)
    assert accumulator_bits(build(), net, net.layers[0]) == 13  # -4 * -128 * 4 = 2048; the least is -2032


def test_what_a_maximum_compares_counts_too():
    # Whole column sums: up to 4 * 1023 each.
    for shift, bits in ((0, 13), (1, 14), (2, 15)):
        pool = layer("pool", [branch(np.full((1, 4, 1, 2, 2), 7), groups=4, shifts=(shift,))], (4, 3, 3), maximum=True)
        assert accumulator_bits(build(), network([pool]), pool) == bits
    pool = layer("pool", [branch(np.ones((1, 4, 1, 2, 2)), groups=4)], (4, 3, 3), maximum=True)
    assert accumulator_bits(build(), network([pool], signed=True), pool) == 13


@pytest.mark.parametrize("seed", range(10))
def test_no_sum_is_wider_than_proven(seed):
    rng = np.random.default_rng(seed)
    config = networks.build(rng)
    net = networks.network(rng, config)
    x = rng.choice([net.input.low, net.input.high], (4, *net.input.shape))
    tensors = {"input": x} | layers.run(net, x)
    for one in net.layers:
        sums = layers.accumulate(net, one, tensors)
        half = 1 << (accumulator_bits(config, net, one) - 1)
        assert -half <= sums.min() <= sums.max() < half
