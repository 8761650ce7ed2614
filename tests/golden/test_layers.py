import re
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from tests.golden import naive
from twofold.golden import catalog, layers
from twofold.golden.config import ArrayConfig
from twofold.golden.convolution import BranchKernel
from twofold.golden.formats import PointSet
from twofold.golden.network import INPUT, Branch, Layer, Network, Tensor
from twofold.testing.random_network import random_inputs, random_network

LOG = catalog.log_points(catalog.log_format(3))
WIDE = catalog.log_points(catalog.log_format(5))
CONFIGS = [
    ArrayConfig(name="log", pe="log", rows=4, cols=4, word_bits=3),
    ArrayConfig(name="asymmetric", pe="log", rows=4, cols=2, word_bits=3, asymmetric=True),
    ArrayConfig(name="subset", pe="subset", rows=2, cols=4, word_bits=4),
    ArrayConfig(name="few", pe="subset", rows=4, cols=4, word_bits=3, universal_set=1, point_sets=2),
]


def layer_of(branch, shape, *, bias=0, multiplier=1, right=0, low=-128, high=127, maximum=False):
    ones = np.ones(shape[0], dtype=np.int64)
    tensor = Tensor(shape, 8, True, 1.0)
    return Layer("y", "conv2d", (branch,), tensor, bias * ones, multiplier * ones, right * ones, low, high, maximum)


def network_of(layer, shape, *, bits=8, signed=True, points=LOG):
    return Network("n", Tensor(shape, bits, signed, 1.0), (layer,), {"p": points})


def codes_of(weights, points=LOG):
    return np.array([points.encode(int(w)) for w in np.ravel(weights)], dtype=np.uint8).reshape(1, *np.shape(weights))


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.name)
@pytest.mark.parametrize("seed", range(6))
def test_every_layer_equals_the_loops(config, seed):
    network = random_network(seed, config, layers=4, max_side=5)
    x = random_inputs(seed, network, 3)
    results = layers.run(network, x)
    tensors = {INPUT: x} | results
    for layer in network.layers:
        for image in range(len(x)):
            sources = {name: tensors[name][image].tolist() for name in layer.sources}
            expected = naive.output(network, layer, sources)
            np.testing.assert_array_equal(results[layer.name][image], expected, err_msg=f"{layer.name}, image {image}")


def test_a_convolution_by_hand():
    # 1x3 map, 2-wide kernel (2, -4), bias 1, times 3 and a quarter: ties at 2.5 and -1.5.
    branch = Branch(INPUT, "p", codes_of([[[[2, -4]]]]), (0,))
    network = network_of(layer_of(branch, (1, 1, 2), bias=1, multiplier=3, right=2), (1, 1, 3))
    x = np.array([[[[5, 2, 1]]], [[[0, 0, 1]]]])
    # (10 - 8 + 1)*3/4 = 2.25, (4 - 4 + 1)*3/4 = 0.75; (0 + 1)*3/4, (0 - 4 + 1)*3/4 = -2.25.
    np.testing.assert_array_equal(layers.run(network, x)["y"], [[[[2, 1]]], [[[1, -2]]]])


def test_rounding_ties_and_clips_by_hand():
    branch = Branch(INPUT, "p", codes_of([[[[1]]]]), (0,))
    network = network_of(layer_of(branch, (1, 1, 8), right=1, low=-3, high=2), (1, 1, 8))
    x = np.array([[[[-7, -5, -3, -1, 1, 3, 5, 127]]]])
    np.testing.assert_array_equal(layers.run(network, x)["y"], [[[[-3, -2, -2, 0, 0, 2, 2, 2]]]])


@pytest.mark.parametrize(("weight", "shift"), [(1, 0), (4, 3), (-1, 0)])
def test_padding_never_wins_a_maximum(weight, shift):
    x = np.full((1, 2, 3, 3), -128)
    x[0, 1, 1, 1] = -100
    branch = Branch(INPUT, "p", codes_of(np.full((2, 1, 3, 3), weight)), (shift,), padding=(1, 1), groups=2)
    layer = layer_of(branch, (2, 3, 3), right=shift, high=127, maximum=True)
    y = layers.run(network_of(layer, (2, 3, 3)), x)["y"]
    if weight < 0:
        assert (y == 127).all()  # 128, clipped
    else:
        assert (y[0, 0] == max(-128, -128 * weight)).all()
        assert (y[0, 1] == max(-128, -100 * weight)).all()


def test_the_second_word_has_its_own_shift():
    codes = np.concatenate([codes_of([[[[4]]]]), codes_of([[[[-1]]]])])
    branch = Branch(INPUT, "p", codes, (3, 1))
    assert branch.weights(LOG).tolist() == [[[[30]]]]
    network = network_of(layer_of(branch, (1, 1, 1)), (1, 1, 1))
    assert layers.run(network, np.array([[[[-3]]]]))["y"].item() == -90


def test_a_residual_enters_at_its_channel_before_rounding():
    # Half of the sum is rounded once: 1/2 + 1/2 gives 1, not 0 + 0.
    first = Branch(INPUT, "p", codes_of(np.ones((3, 1, 1, 1))), (0,), stride=(2, 2))
    skip = Branch(INPUT, "p", codes_of([[[[1]]]]), (0,), stride=(2, 2), channel=2)
    ones = np.ones(3, dtype=np.int64)
    layer = Layer("y", "conv2d", (first, skip), Tensor((3, 2, 1), 8, True, 1.0), 0 * ones, ones, ones, -128, 127)
    x = np.array([[[[1], [9], [3]]]])
    y = layers.run(network_of(layer, (1, 3, 1)), x)["y"]
    np.testing.assert_array_equal(y, [[[[0], [2]], [[0], [2]], [[1], [3]]]])


#: Kernel, stride, padding, dilation, input channels, output channels, groups.
GEOMETRIES = [
    ((3, 3), (1, 1), (1, 1), (1, 1), 5, 7, 1),
    ((1, 5), (2, 1), (0, 3), (1, 2), 3, 4, 1),
    ((2, 3), (3, 2), (2, 1), (2, 1), 6, 4, 2),
    ((3, 2), (1, 2), (1, 1), (1, 3), 6, 6, 6),
    ((2, 2), (2, 2), (0, 1), (1, 1), 4, 12, 4),
    ((1, 1), (1, 1), (0, 0), (1, 1), 8, 3, 1),
    ((9, 8), (1, 1), (0, 0), (1, 1), 2, 5, 1),
    ((1, 1), (1, 1), (0, 0), (1, 1), 1, 1, 1),
    ((4, 4), (1, 1), (2, 2), (1, 1), 1, 1, 1),
]


@pytest.mark.parametrize("constant", [False, True], ids=["any", "constant"])
@pytest.mark.parametrize(("kernel", "stride", "padding", "dilation", "inputs", "outputs", "groups"), GEOMETRIES)
def test_number_types_agree_at_the_extremes(kernel, stride, padding, dilation, inputs, outputs, groups, constant):
    rng = np.random.default_rng(0)
    shape = (1, outputs, inputs // groups, *kernel)
    codes = np.full(shape, 11, dtype=np.uint8) if constant else rng.integers(0, 16, shape, dtype=np.uint8)
    points = catalog.log_points(catalog.log_format(4))
    branch = Branch(INPUT, "p", codes, (0,), stride, padding, dilation, groups)
    x = np.concatenate([rng.choice([-128, 127], (2, 9, 8, inputs)), np.full((1, 9, 8, inputs), -128)])
    weights = branch.weights(points)
    results = [BranchKernel(branch, weights, dtype=dtype).sum(x) for dtype in (np.int64, np.float64, np.float32)]
    assert [result.dtype for result in results] == [np.int64, np.float64, np.float32]
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])
    layer = layer_of(branch, (outputs, *branch.output_size(9, 8)), multiplier=0)
    network = network_of(layer, (inputs, 9, 8), points=points)
    for image, sums in zip(x, results[0], strict=True):
        source = image.transpose(2, 0, 1).tolist()
        for (i, j, m), value in np.ndenumerate(sums):
            assert value == sum(naive.branch_products(network, branch, m, i, j, source))


@pytest.mark.parametrize(
    ("channels", "shift", "dtype"),
    [(7, 0, np.float32), (8, 0, np.float64), (63, 26, np.float64), (64, 26, np.int64), (63, 35, np.int64)],
)
def test_the_number_type_follows_the_worst_case(channels, shift, dtype):
    # 2**14 times -128 is 2**21: eight of them are one too many for float32, 64 << 26 for float64.
    branch = Branch(INPUT, "p", codes_of(np.full((1, channels, 1, 1), -16384), WIDE), (shift,))
    layer = layer_of(branch, (1, 1, 1))
    network = network_of(layer, (channels, 1, 1), points=WIDE)
    plan = layers._Plan.of(network, layer)
    assert layers.worst_case(network, layer) == [channels << (21 + shift)]
    assert plan.dtype == plan.kernels[0].dtype == dtype
    acc = layers.accumulate(network, layer, {INPUT: np.full((1, channels, 1, 1), -128)})
    assert acc.item() == channels << (21 + shift)


def test_the_bias_counts_in_the_worst_case():
    branch = Branch(INPUT, "p", codes_of([[[[1]]]]), (0,))
    for bias, dtype in (((1 << 24) - 129, np.float32), ((1 << 24) - 128, np.float64), (-(1 << 53) + 128, np.int64)):
        layer = layer_of(branch, (1, 1, 1), bias=bias)
        network = network_of(layer, (1, 1, 1))
        assert layers._Plan.of(network, layer).dtype == dtype
        assert layers.accumulate(network, layer, {INPUT: np.full((1, 1, 1, 1), 127)}).item() == bias + 127


def test_sums_beyond_float64_are_exact():
    # 2**14 << 33 + 1, a number of 48 bits, times 127 * 65 needs 61 bits: float64 would lose the last ones.
    codes = np.concatenate([codes_of(np.full((1, 65, 1, 1), w), WIDE) for w in (16384, 1)])
    branch = Branch(INPUT, "p", codes, (33, 0))
    layer = layer_of(branch, (1, 1, 1))
    network = network_of(layer, (65, 1, 1), points=WIDE)
    x = np.full((1, 65, 1, 1), 127)
    x[0, 0] = 126
    exact = ((1 << 47) + 1) * (127 * 64 + 126)
    assert int(float(exact)) != exact
    assert layers.accumulate(network, layer, {INPUT: x}).item() == exact


@pytest.mark.parametrize("multiplier", [127, 128])
@pytest.mark.parametrize(("shift", "floats"), [(0, True), (24, True), (26, False), (33, False)])
def test_requantisation_is_exact_on_both_paths(shift, floats, multiplier):
    # Accumulators up to 2**21 << shift; with the multiplier 128 each lies half-way between two integers.
    branch = Branch(INPUT, "p", codes_of([[[[16384]]]], WIDE), (shift,))
    layer = layer_of(branch, (1, 16, 16), bias=1 << 13 + shift, multiplier=multiplier, right=21 + shift)
    network = network_of(layer, (1, 16, 16), points=WIDE)
    assert (layers._Plan.of(network, layer).scale is not None) == floats
    x = np.arange(-128, 128).reshape(1, 1, 16, 16)
    rounded = [round(Fraction(((v << 14) + (1 << 13)) * multiplier, 1 << 21)) for v in range(-128, 128)]
    expected = [min(127, value) for value in rounded]
    assert layers.run(network, x)["y"].ravel().tolist() == expected
    acc = layers.accumulate(network, layer, {INPUT: x})
    np.testing.assert_array_equal(layers.requantise(layer, acc).ravel(), expected)


def test_a_bias_and_multiplier_beyond_float64_are_exact():
    branch = Branch(INPUT, "p", codes_of([[[[1]]]]), (0,))
    layer = layer_of(branch, (1, 1, 3), bias=(1 << 57) + 1, multiplier=17, right=58)
    x = np.array([[[[-128, 0, 127]]]])
    expected = [round(Fraction(((1 << 57) + 1 + v) * 17, 1 << 58)) for v in (-128, 0, 127)]
    assert expected == [8, 9, 9]  # 8.5 and a little less or more
    assert layers.run(network_of(layer, (1, 1, 3)), x)["y"].ravel().tolist() == expected
    # Also where the first branch is for the last channel only.
    layer = layer_of(replace(branch, channel=1), (2, 1, 3), bias=(1 << 57) + 1, multiplier=17, right=58)
    assert layers.run(network_of(layer, (1, 1, 3)), x)["y"].tolist() == [[[[9, 9, 9]], [expected]]]


def test_overflow_of_64_bits_is_refused():
    branch = Branch(INPUT, "p", codes_of([[[[1]]]]), (0,))
    network = network_of(layer_of(branch, (1, 1, 1), bias=(1 << 61) - 128, multiplier=4), (1, 1, 1))
    message = f"Layer 'y': accumulator times multiplier must be below 2**63, not {1 << 63}"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        layers.run(network, np.zeros((1, 1, 1, 1), dtype=np.int64))
    most = layer_of(branch, (1, 1, 1), bias=(1 << 61) - 129, multiplier=4, right=56)
    assert layers.run(network_of(most, (1, 1, 1)), np.full((1, 1, 1, 1), 127))["y"].item() == 127


def test_overflow_of_weights_is_refused():
    branch = Branch(INPUT, "p", codes_of([[[[1]]]]), (61,))
    network = network_of(layer_of(branch, (1, 1, 1)), (1, 1, 1))
    message = f"Layer 'y': sums of weights must be below 2**63, not {1 << 63}"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        layers.run(network, np.zeros((1, 1, 1, 1), dtype=np.int64))


def test_batches_give_what_single_images_give():
    network = random_network(3, CONFIGS[0], max_side=9)
    x = random_inputs(5, network, 7)
    whole = layers.run(network, x)
    singles = [layers.run(network, x[n : n + 1]) for n in range(len(x))]
    for name, values in whole.items():
        np.testing.assert_array_equal(values, np.concatenate([single[name] for single in singles]))


def test_small_batches_change_nothing(monkeypatch):
    network = random_network(4, CONFIGS[0], max_side=9)
    x = random_inputs(5, network, 7)
    whole = layers.run(network, x)
    monkeypatch.setattr(layers, "BATCH_BYTES", 1)
    monkeypatch.setattr("twofold.golden.convolution.UNFOLD_BYTES", 1)
    for name, values in layers.run(network, x).items():
        np.testing.assert_array_equal(values, whole[name])


def test_no_images_give_empty_outputs():
    network = random_network(0, CONFIGS[0])
    results = layers.run(network, np.zeros((0, *network.input.shape), dtype=np.int64))
    assert {name: values.shape for name, values in results.items()} == {
        layer.name: (0, *layer.output.shape) for layer in network.layers
    }


def test_only_kept_layers_are_returned():
    network = random_network(1, CONFIGS[0])
    x = random_inputs(1, network, 2)
    whole, name = layers.run(network, x), network.layers[1].name
    kept = layers.run(network, x, keep=[name])
    assert list(kept) == [name]
    np.testing.assert_array_equal(kept[name], whole[name])
    assert layers.run(network, x, keep=()) == {}
    names = tuple(layer.name for layer in network.layers)
    with pytest.raises(ValueError, match=f"^{re.escape(f'Kept layer must be one of {names}, not {INPUT!r}')}$"):
        layers.run(network, x, keep=[INPUT])


def test_classes_and_accuracy():
    branch = Branch(INPUT, "p", codes_of(np.eye(3).reshape(3, 3, 1, 1)), (0,))
    network = network_of(layer_of(branch, (3, 1, 1)), (3, 1, 1))
    x = np.array([[1, 5, 2], [4, 4, 0], [-9, -8, -7], [0, 0, 0]]).reshape(4, 3, 1, 1)
    np.testing.assert_array_equal(layers.classify(network, x), [1, 0, 2, 0])
    assert layers.accuracy(network, x, np.array([1, 0, 2, 1])) == 0.75


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (np.zeros((1, 3, 1, 1)), TypeError, "Input must be int64, not float64"),
        (np.zeros((1, 3, 1, 1), dtype=np.uint8), TypeError, "Input must be int64, not uint8"),
        (np.zeros((3, 1, 1), dtype=np.int64), ValueError, "Input must be of shape (B, 3, 1, 1), not (3, 1, 1)"),
        (np.zeros((2, 3, 1, 2), dtype=np.int64), ValueError, "Input must be of shape (B, 3, 1, 1), not (2, 3, 1, 2)"),
        (np.full((1, 3, 1, 1), 16), ValueError, "Input must be 0 to 15, not 16"),
        (np.array([0, -1, 3]).reshape(1, 3, 1, 1), ValueError, "Input must be 0 to 15, not -1"),
    ],
)
def test_wrong_inputs_are_refused(x, error, message):
    branch = Branch(INPUT, "p", codes_of(np.ones((1, 3, 1, 1))), (0,))
    network = network_of(layer_of(branch, (1, 1, 1)), (3, 1, 1), bits=4, signed=False)
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        layers.run(network, x)
    message = message.replace("Input", "Tensor 'input'")
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        layers.accumulate(network, network.layers[0], {INPUT: x})


def test_subset_words_without_zero_pad_with_zero_activations():
    points = PointSet(catalog.subset_format(2), (3, 32))
    branch = Branch(INPUT, "p", codes_of(np.full((1, 1, 3, 3), 3), points), (0,), padding=(1, 1))
    layer = layer_of(branch, (1, 1, 1))
    y = layers.run(network_of(layer, (1, 1, 1), points=points), np.array([[[[5]]]]))["y"]
    assert y.item() == 15
