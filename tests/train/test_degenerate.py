"""Layers and filters that pruning or training has emptied: their outputs are their biases, whatever the recipe."""

import re
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from tests.train.test_export import LOG, SUBSET, SUBSET3
from twofold.golden import catalog
from twofold.golden.formats import WeightFormat
from twofold.train import integer
from twofold.train.convert import calibrate, convert
from twofold.train.data import InputFormat
from twofold.train.export import export
from twofold.train.ptq import quantize
from twofold.train.quantizers.search import search_points
from twofold.train.recipe import load_recipe, parse_recipe
from twofold.train.snap import snap

RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.toml"))
FORM = InputFormat((3, 6, 6), 8, True, 1 / 64)
LOG4 = replace(LOG, name="log4", word_bits=4)
#: Builds of every format that the recipes have.
BUILDS = (LOG, LOG4, SUBSET, SUBSET3, replace(SUBSET, name="subset2", word_bits=2))
ZEROED = (1, 3)


def pruned() -> nn.Sequential:
    """Four layers; the second has two filters of zeros, the third nothing else."""
    torch.manual_seed(3)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.ReLU(),
        nn.Conv2d(4, 6, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(6, 5, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(5, 4, 1),
    )
    with torch.no_grad():
        model[2].weight[list(ZEROED)] = 0
        model[4].weight.zero_()
        for layer in model[::2]:
            layer.bias.uniform_(0.05, 0.9)
    return model.eval()


def images() -> torch.Tensor:
    return torch.randint(-128, 128, (8, 3, 6, 6), generator=torch.Generator().manual_seed(1)) / 64


def exported(quantized):
    """The network on the first build that takes its words."""
    refusals = []
    for build in BUILDS:
        try:
            snap(quantized, build)
            return export(quantized, build)
        except ValueError as error:
            refusals.append(str(error))
    raise AssertionError(refusals)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_what_is_emptied_gives_its_bias_in_every_recipe(path):
    recipe, model = load_recipe(path), pruned()
    quantized = convert(model, recipe, FORM, training=True)
    if recipe.method == "ptq":
        quantize(quantized, images(), replace(recipe.ptq, copies=1, steps=min(recipe.ptq.steps, 3)))
    else:
        calibrate(quantized, images())
    quantized.finish()
    network = exported(quantized)
    values = integer.run(network, torch.round(images() / network.input.scale).long())
    for name, channels in (("2", ZEROED), ("4", range(5))):
        output = next(layer.output for layer in network.layers if layer.name == name)
        bias = model[int(name)].bias.detach()
        if recipe.ptq.reconstruct and recipe.method == "ptq":
            bias = next(layer for layer in quantized.conv_layers if layer.name == name).bias.detach()
        for channel in channels:
            found = values[name][:, channel] * output.scale
            wanted = bias[channel].clamp(0, output.high * output.scale)
            assert float((found - wanted).abs().max()) <= 0.501 * output.scale, (name, channel)
    with torch.no_grad():
        wanted = quantized(images())
    found = values[network.layers[-1].name] * network.output.output.scale
    assert float((found - wanted).abs().max()) <= 2.01 * network.output.output.scale


def test_a_trained_binary_layer_keeps_its_empty_filter_out_of_the_sum():
    table = {"name": "t", "method": "qat"}
    table["layer"] = [{"match": "*", "weight": {"quantizer": "binary"}}]
    quantized = convert(pruned(), parse_recipe(table), FORM)
    calibrate(quantized, images())
    weight = quantized.conv_layers[1].weight
    assert not weight[list(ZEROED)].any()
    assert set(weight[[0, 2, 4, 5]].abs().unique().tolist()) == {
        float(quantized.conv_layers[1].weight_quantizer.scale[0])
    }


@pytest.mark.parametrize("by_channel", [True, False])
def test_subsets_that_must_have_zero_are_the_best_of_those(by_channel):
    fmt, rng = catalog.subset_format(2), np.random.default_rng(5)
    for _ in range(4):
        # Magnitudes about 1: without the demand, the best two points would be two that are not zero.
        weights = rng.choice([-1.0, 1.0], (3, 7)) * rng.uniform(0.7, 1.3, (3, 7))
        free, bound = (search_points(weights, fmt, by_channel=by_channel, zero=zero) for zero in (False, True))
        assert free.levels[0] > 0 and bound.levels[0] == 0
        assert bound.error > free.error
        rows = np.abs(weights if by_channel else weights.reshape(1, -1))
        # With points 0 and p, the best is p at the mean of the magnitudes that are nearer to it.
        least = 0.0
        for row in rows:
            ordered = np.sort(row)
            least += min(
                ((part := ordered[n:]) - part.mean()) @ (part - part.mean()) + (ordered[:n] ** 2).sum()
                for n in range(len(row))
            )
        assert bound.error == pytest.approx(least, rel=1e-8)
        assert bound.lower <= least * (1 + 1e-12)


def test_eight_points_that_must_have_zero():
    """By every subset and a fine grid of scales."""
    fmt, weights = catalog.subset_format(3), np.random.default_rng(6).uniform(0.5, 1.5, (1, 12))
    found = search_points(weights, fmt, by_channel=False, zero=True)
    assert found.levels[0] == 0
    subsets = np.array([s for s in combinations(fmt.universal_set, 4) if s[0] == 0], dtype=float)
    scales = np.geomspace(1 / 36, 1.6, 2000)
    levels = subsets[:, None, :] * scales[None, :, None]
    errors = sum(((levels - w) ** 2).min(axis=2) for w in weights[0])
    assert found.error <= errors.min() * (1 + 1e-9)
    assert found.error >= errors.min() * 0.98


def test_a_universal_set_without_zero_cannot_give_a_bias():
    fmt = WeightFormat(menus=((3, 1), (2, 0)), index_bits=2)
    with pytest.raises(ValueError, match=r"^Universal set must have 0 where all weights of a filter are 0, not \(3, "):
        search_points(np.ones((2, 3)), fmt, zero=True)
    table = {"name": "t", "method": "ptq"}
    table["layer"] = [{"match": "*", "weight": {"quantizer": "subset", "bits": 3, "menus": "3 1 + 2 0"}}]
    quantized = convert(pruned(), parse_recipe(table), FORM)
    with pytest.raises(
        ValueError, match=re.escape("Layer '2': Universal set must have 0 where all weights of a filter")
    ):
        calibrate(quantized, images())


def test_what_reads_a_dead_tensor_keeps_its_bias():
    model = pruned()
    with torch.no_grad():
        model[0].bias.fill_(-100.0)
    quantized = convert(model, load_recipe(RECIPES[0].parent / "binary_w1a8.toml"), FORM)
    calibrate(quantized, images())
    quantized.finish()
    network = exported(quantized)
    values = integer.run(network, torch.round(images() / network.input.scale).long())
    assert not values["0"].any()
    output = network.layers[1].output
    found, wanted = values["2"][0, :, 0, 0] * output.scale, model[2].bias.detach()
    assert float((found - wanted.clamp(max=output.high * output.scale)).abs().max()) <= 0.501 * output.scale
