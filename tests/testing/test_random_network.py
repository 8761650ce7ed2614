import re
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from twofold.golden import layers
from twofold.golden.config import ArrayConfig
from twofold.golden.network import INPUT
from twofold.golden.rounding import csd
from twofold.testing.random_network import random_inputs, random_network

LOG = ArrayConfig(name="log", pe="log", rows=4, cols=4, word_bits=3)
SUBSET = ArrayConfig(name="subset", pe="subset", rows=4, cols=8, word_bits=4)
CONFIGS = [
    LOG,
    replace(LOG, name="asymmetric", asymmetric=True, rows=8, word_bits=4),
    replace(LOG, name="two_bits", word_bits=2, rows=2, cols=2, digits=1, act_bits=4),
    replace(LOG, name="five_bits", word_bits=5, acc_width=40),
    replace(LOG, name="shallow", acc_depth=7, cols=2),
    replace(LOG, name="tiny", feature_depth=64, weight_depth=128, program_depth=128, channel_depth=16),
    SUBSET,
    replace(SUBSET, name="one_set", point_sets=1, universal_set=3),
    replace(SUBSET, name="two_bits", word_bits=2, point_sets=2, universal_set=1),
    replace(SUBSET, name="long_digits", digits=8, digit_span=31, acc_width=48),
]


def same(one, other):
    """Whether two networks are the same in everything."""
    fields = ("name", "kind", "output", "low", "high", "maximum")
    branch_fields = ("source", "point_set", "shifts", "stride", "padding", "dilation", "groups", "channel", "channels")
    return (
        (one.name, one.input, one.point_sets) == (other.name, other.input, other.point_sets)
        and len(one.layers) == len(other.layers)
        and all(
            all(getattr(a, key) == getattr(b, key) for key in fields)
            and all(np.array_equal(getattr(a, key), getattr(b, key)) for key in ("bias", "multiplier", "right"))
            and len(a.branches) == len(b.branches)
            and all(
                all(getattr(s, key) == getattr(t, key) for key in branch_fields) and np.array_equal(s.codes, t.codes)
                for s, t in zip(a.branches, b.branches, strict=True)
            )
            for a, b in zip(one.layers, other.layers, strict=True)
        )
    )


@pytest.mark.parametrize("config", [LOG, SUBSET], ids=lambda config: config.name)
def test_the_seed_decides(config):
    for seed in range(5):
        assert same(random_network(seed, config), random_network(seed, config))
        assert same(random_network(seed, config), random_network(np.random.default_rng(seed), config))
        assert not same(random_network(seed, config), random_network(seed + 1, config))
    network = random_network(0, config)
    np.testing.assert_array_equal(random_inputs(3, network, 5), random_inputs(3, network, 5))
    assert (random_inputs(3, network, 5) != random_inputs(4, network, 5)).any()


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.name)
def test_networks_stay_within_the_build(config):
    for seed in range(12):
        network = random_network(seed, config, layers=3)
        assert len(network.layers) == 3
        assert len(network.point_sets) <= config.sets
        assert all(points.fmt == config.fmt for points in network.point_sets.values())
        for tensor in network.tensors.values():
            assert tensor.bits <= config.act_bits
            assert max(tensor.shape[1:]) <= config.max_side
        for layer in network.layers:
            assert max(layers.worst_case(network, layer)) < 1 << (config.acc_width - 1)
            for multiplier in layer.multiplier.tolist():
                digits = csd(multiplier)
                assert len(digits) <= config.digits
                assert all(shift <= config.digit_span for _, shift in digits)
            assert layer.right.max() <= min(62, config.scaled_bits)
            for branch in layer.branches:
                assert max(branch.shifts) <= config.max_pass_shift
                _, height, width = network.tensors[branch.source].shape
                assert height + branch.begin[0] + branch.end[0] <= config.max_side
                assert width + branch.begin[1] + branch.end[1] <= config.max_side


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.name)
def test_outputs_neither_all_saturate_nor_vanish(config):
    live = total = 0
    for seed in range(12):
        network = random_network(seed, config)
        for layer, values in zip(
            network.layers, layers.run(network, random_inputs(seed, network, 8)).values(), strict=True
        ):
            total += 1
            inside = (values > layer.low) & (values < layer.high)
            live += len(np.unique(values)) > 1 and (layer.high - layer.low < 2 or inside.any())
    assert live >= 0.9 * total


def test_everything_that_a_log_build_can_do_occurs():
    found = occurrences(replace(LOG, asymmetric=True, acc_depth=64), seeds=150)
    assert found["point sets"] == 150
    for what in EVERYWHERE:
        assert found[what] >= 2, what


def test_everything_that_a_subset_build_can_do_occurs():
    found = occurrences(SUBSET, seeds=150)
    assert found["point sets"] == 4 * 150
    for what in (*EVERYWHERE, "set without zero", "grouped without zero"):
        assert found[what] >= 2, what


EVERYWHERE = (
    *(f"kernel side {k}" for k in range(1, 6)),
    *(f"stride {k}" for k in (1, 2, 3)),
    *(f"input of {b} bits" for b in range(2, 9)),
    *("conv2d", "linear", "maxpool", "avgpool", "add"),
    *("padding of four sides", "a line left out"),
    *("oblong kernel", "padding", "dilation", "grouped", "depthwise", "ragged input", "ragged output"),
    *("signed input", "unsigned input", "signed maximum with padding", "negative maximum"),
    *("one word", "two words", "three words", "own shift of the second word", "empty second tile", "full second tile"),
    *("slice of channels", "channels in another order", "shuffled groups", "concatenation"),
    *("residual", "strided residual", "residual at a channel", "two sources", "more positions than the accumulator"),
    *("no right shift", "plain shift", "several digits", "zero multiplier", "large bias", "low clip", "high clip"),
)


def occurrences(config, *, seeds):
    """How many layers or networks do what."""
    found = Counter()
    for seed in range(seeds):
        network = random_network(seed, config)
        found["point sets"] += len(network.point_sets)
        for layer in network.layers:
            found.update(what for what, does in layer_features(config, network, layer).items() if does)
            found[layer.kind] += 1
            for branch in layer.branches:
                found.update(what for what, does in branch_features(config, network, layer, branch).items() if does)
                for k in branch.kernel:
                    found[f"kernel side {k}"] += 1
                for k in branch.stride:
                    found[f"stride {k}"] += 1
                found[f"input of {network.tensors[branch.source].bits} bits"] += 1
    return found


def layer_features(config, network, layer):
    shape = layer.output.shape
    digits = [len(csd(multiplier)) for multiplier in layer.multiplier.tolist()]
    return {
        "two sources": len({branch.source for branch in layer.branches}) > 1,
        "concatenation": sum(branch.kernel != (1, 1) and branch.groups == 1 for branch in layer.branches) > 1,
        "more positions than the accumulator": shape[1] * shape[2] > config.acc_depth,
        "ragged output": shape[0] % config.cols and shape[0] > config.cols,
        "no right shift": (layer.right == 0).any(),
        "plain shift": any(d == 1 for d in digits),
        "several digits": any(d > 1 for d in digits),
        "zero multiplier": 0 in digits,
        "large bias": np.abs(layer.bias).max() > 1 << (config.acc_width - 3),
        "low clip": layer.low > layer.output.low,
        "high clip": layer.high < layer.output.high,
    }


def branch_features(config, network, layer, branch):
    source, points = network.tensors[branch.source], network.point_sets[branch.point_set]
    identity = len(layer.branches) > 1 and branch.groups == branch.in_channels and branch.kernel == (1, 1)
    values = np.array(points.values)[branch.codes]
    second = values[1] if len(values) == 2 else None
    blocks = [] if second is None else tile_zeros(config, second)
    return {
        "oblong kernel": branch.kernel[0] != branch.kernel[1],
        "padding": max(branch.padding) > 0,
        "padding of four sides": len(branch.padding) == 4 and branch.begin != branch.end,
        "a line left out": min(branch.padding) < 0,
        "dilation": max(branch.dilation) > 1,
        "grouped": 1 < branch.groups < branch.in_channels,
        "depthwise": 1 < branch.groups == branch.in_channels and layer.kind == "conv2d" and not identity,
        "ragged input": source.shape[0] % config.rows and source.shape[0] > config.rows,
        "signed input": source.signed,
        "unsigned input": not source.signed,
        "signed maximum with padding": layer.maximum and source.signed and max(branch.padding) > 0,
        "negative maximum": layer.maximum and values.flat[0] < 0,
        "one word": len(branch.shifts) == 1,
        "two words": len(branch.shifts) == 2,
        "three words": len(branch.shifts) >= 3,
        "own shift of the second word": len(branch.shifts) == 2 and branch.shifts[1] < branch.shifts[0],
        "empty second tile": any(blocks) and not all(blocks),
        "full second tile": bool(blocks) and not any(blocks),
        "slice of channels": branch.channels is not None and branch.groups == 1,
        "channels in another order": branch.channels is not None and list(branch.channels) != sorted(branch.channels),
        "shuffled groups": branch.channels is not None and branch.groups > 1,
        "residual": identity and layer.kind == "conv2d",
        "strided residual": identity and max(branch.stride) > 1,
        "residual at a channel": identity and branch.channel > 0,
        "set without zero": not points.has_zero,
        "grouped without zero": branch.groups > 1 and not points.has_zero,
    }


def tile_zeros(config, word):
    """Which tiles of a word are zero, tiles too small to be so by chance left out."""
    tiles = [
        word[m : m + config.cols, n : n + config.rows, y, x]
        for m in range(0, word.shape[0], config.cols)
        for n in range(0, word.shape[1], config.rows)
        for y in range(word.shape[2])
        for x in range(word.shape[3])
    ]
    return [not tile.any() for tile in tiles if tile.size >= 6]


def test_inputs_begin_with_noise_then_extremes():
    network = random_network(2, LOG)
    tensor = network.input
    x = random_inputs(0, network, 8)
    assert x.dtype == np.int64
    assert x.shape == (8, *tensor.shape)
    assert x.min() >= tensor.low
    assert x.max() <= tensor.high
    assert set(np.unique(x[[1, 5]])) <= {tensor.low, tensor.high}
    assert (x[[3, 7]] == tensor.high).all()
    assert random_inputs(0, network, 0).shape == (0, *tensor.shape)


def test_sizes_are_parameters():
    for seed in range(10):
        network = random_network(seed, LOG, layers=2, max_side=3, max_channels=3, name="small")
        assert network.name == "small"
        assert max(network.tensors[INPUT].shape) <= 3
        assert max(layer.output.shape[0] for layer in network.layers) <= 3


def test_a_build_without_room_is_refused():
    config = replace(LOG, weight_depth=4, program_depth=4, name="nothing")
    message = "Build 'nothing' must have room for a random network, not for 0 layers of 4"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        random_network(0, config)
