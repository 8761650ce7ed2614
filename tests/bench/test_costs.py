"""Costs of two-word log quantization, against figures computed by hand and against a mapped network."""

import numpy as np
import pytest
import torch
from torch import nn

from twofold.bench.results.costs import (
    WordCost,
    first_words,
    fix_ops,
    image_bits,
    paper_storage,
    total,
    two_word_layers,
    word_costs,
)
from twofold.golden.config import load_config
from twofold.golden.isa import Section, line_bits
from twofold.mapper.compiler import compile_network
from twofold.mapper.macs import useful_macs
from twofold.train.convert import calibrate, convert
from twofold.train.data import InputFormat
from twofold.train.export import export
from twofold.train.quantizers import STLQuantizer
from twofold.train.recipe import parse_recipe

#: Multiply-accumulates of ResNet-18: 112*112*64*147 + 512*1000; and 4*56*56*64*576 + 3 stages of 28*28*128*(576 +
#: 3*1152 + 64), or as much.
ENDS, OTHERS = 118_525_952, 1_695_547_392


@pytest.mark.parametrize(
    ("bits", "levels", "millions"),
    [
        (5, "uniform", 780.9),
        (3, "uniform", 357.0),
        (5, "apot", 615.3),
        (4, "apot", 436.4),
        (3, "apot", 297.4),
        (2, "apot", 198.0),
        (5, "power", 582.2),
    ],
)
def test_operations_are_the_published_ones(bits, levels, millions):
    assert fix_ops(ENDS, OTHERS, bits, bits, levels=levels) / 1e6 == pytest.approx(millions, abs=0.06)


def test_operations_of_8_bits_are_the_multiply_accumulates():
    assert fix_ops(ENDS, OTHERS, 8, 8) == ENDS + OTHERS
    assert fix_ops(5, 64, 3, 4) == 17


@pytest.mark.parametrize(("ratio", "millions"), [(0.15, 1.73), (0.1, 1.66), (0.05, 1.59)])
def test_storage_is_the_papers(ratio, millions):
    """ResNet-18, 3-bit words."""
    assert round(paper_storage(11_166_912, 512_000, 3, ratio) / 32e6, 2) == millions


def test_errors():
    with pytest.raises(ValueError) as error:
        fix_ops(1, 1, 3, 3, levels="lloyd")
    assert str(error.value) == "Levels must be one of ('uniform', 'apot', 'power'), not 'lloyd'"
    with pytest.raises(ValueError) as error:
        paper_storage(1, 1, 3, 1.5)
    assert str(error.value) == "Two-word ratio must be 0 to 1, not 1.5"


@pytest.fixture(scope="module")
def config():
    return load_config("configs/log_8x8.toml")


@pytest.fixture(scope="module")
def network(config):
    """Two layers of 2 and 4 x 9 tiles, one word but for half of the second one's tiles, ragged (12 channels)."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(8, 12, 1), nn.ReLU(), nn.Conv2d(12, 16, 3), nn.ReLU()).eval()
    rules = [
        {"match": "0", "weight": {"quantizer": "stlq", "bits": 3}},
        {"match": "2", "weight": {"quantizer": "stlq", "bits": 3, "ratio": 0.5, "unit": "tile", "tile": (8, 8)}},
    ]
    quantized = convert(
        model, parse_recipe({"name": "r", "method": "qat", "layer": rules}), InputFormat((8, 6, 6), scale=1 / 255)
    )
    calibrate(quantized, torch.rand(4, 8, 6, 6))
    for layer in quantized.conv_layers:
        assert isinstance(layer.weight_quantizer, STLQuantizer)
        layer.weight_quantizer.finish()
    return export(quantized, config)


def test_words_and_cycles_of_second_words(network, config):
    assert two_word_layers(network) == ("2",)
    single = first_words(network)
    assert [len(layer.branches[0].codes) for layer in single.layers] == [1, 1]
    assert [len(layer.branches[0].codes) for layer in network.layers] == [1, 2]
    image, plain = compile_network(network, config), compile_network(single, config)
    costs = word_costs(network, image, plain)
    (cost,) = costs.values()
    # 36 tiles: 18 of 8 x 8 weights, 18 of 8 x 4; the chosen 18 by the quantizer's own account.
    branch = network.layers[1].branches[0]
    busy = np.array(network.point_sets[branch.point_set].values)[branch.codes[1]] != 0
    wide, narrow = (
        sum(int(part.any(axis=(0, 1)).sum()) for part in (busy[:8, lanes], busy[8:, lanes]))
        for lanes in (slice(0, 8), slice(8, 12))
    )
    assert wide + narrow == 18
    assert cost.words == 16 * 12 * 9
    assert cost.extra_words == 64 * wide + 32 * narrow
    # A pass of a tile takes a cycle an output position, 4 x 4: 18 more passes.
    assert cost.cycles == plain.layers[1].cycles
    assert cost.cycles + cost.extra_cycles == image.layers[1].cycles
    assert image.layers[1].passes - plain.layers[1].passes == 18
    spent, before = image.layers[1].spent, plain.layers[1].spent
    assert spent["array"] - before["array"] == 18 * 16 == image.layers[1].work["words"]
    # The first layer's requantiser is waited for after fewer passes only.
    assert cost.extra_cycles == 18 * 16 - before["requantiser"] + spent["requantiser"]
    assert image.layers[0].cycles == plain.layers[0].cycles
    assert total(costs) == cost
    assert total({"a": WordCost(1, 2, 3, 4), "b": WordCost(10, 20, 30, 40)}) == WordCost(11, 22, 33, 44)
    assert cost.word_ratio == cost.extra_words / 1728
    assert cost.cycle_ratio == cost.extra_cycles / cost.cycles
    assert [useful_macs(layer) for layer in network.layers] == [8 * 12 * 36, 16 * 12 * 9 * 16]


def test_bits_of_an_image(network, config):
    image, plain = compile_network(network, config), compile_network(first_words(network), config)
    # A weight line is a column of a tile: 8 words of 3 bits; a tile has 8 columns.
    assert line_bits(config, Section.WEIGHT) == 24
    assert image_bits(image)["weight"] == 24 * len(image.weight)
    assert image_bits(image)["weight"] - image_bits(plain)["weight"] == 18 * 8 * 24
    assert set(image_bits(image)) == {"points", "weight", "channel", "program"}


def test_images_must_belong_together(network, config):
    image = compile_network(network, config)
    other = compile_network(network, load_config("configs/log_16x16.toml"))
    with pytest.raises(ValueError) as error:
        word_costs(network, image, other)
    assert str(error.value) == "Images must be for one build, not 'log_8x8' and 'log_16x16'"
