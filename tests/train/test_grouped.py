"""Depthwise layers: their point sets have zero, so that a tile of several groups is one pass for three taps."""

from dataclasses import replace

import torch
from torch import nn

from tests.train.test_export import SUBSET
from twofold.golden.isa import Drain, Pass
from twofold.golden.layers import run
from twofold.golden.machine import execute
from twofold.mapper.compiler import compile_network
from twofold.train import integer
from twofold.train.convert import calibrate, convert
from twofold.train.data import InputFormat
from twofold.train.export import export
from twofold.train.recipe import parse_recipe
from twofold.train.snap import snap

BUILD = replace(SUBSET, word_bits=2)
FORM = InputFormat((8, 4, 4), 8, True, 1 / 64)


def separable() -> nn.Sequential:
    """Depthwise and pointwise; magnitudes near 1, for which the best pairs of points have no zero."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.ReLU(), nn.Conv2d(8, 8, 1))
    with torch.no_grad():
        for layer in model[::2]:
            layer.weight.copy_(
                torch.where(torch.rand_like(layer.weight) < 0.5, -1.0, 1.0) * (0.8 + 0.4 * layer.weight.abs())
            )
    return model.eval()


def quantized(weight):
    recipe = parse_recipe({"name": "t", "method": "ptq", "layer": [{"match": "*", "weight": weight}]})
    model = convert(separable(), recipe, FORM)
    images = torch.randint(-128, 128, (16, 8, 4, 4), generator=torch.Generator().manual_seed(1)) / 64
    calibrate(model, images)
    snap(model, BUILD)
    return model, images


def test_a_tile_of_several_groups_is_one_pass_a_kernel_row():
    model, images = quantized({"quantizer": "subset", "bits": 2})
    depthwise, pointwise = (layer.weight_quantizer.levels.tolist() for layer in model.conv_layers)
    assert depthwise[0] == 0 and pointwise[0] > 0
    network = export(model, BUILD)
    image = compile_network(network, BUILD)
    first = image.layers[0]
    instructions = image.instructions[first.first : first.last + 1]
    drains = sum(isinstance(one, Drain) for one in instructions)
    assert drains % 2 == 0 and first.passes == 3 * drains  # two tiles of four channels, each drained once a chunk
    # A chain pass has all three taps of its row.
    passes = [one for one in instructions if isinstance(one, Pass)]
    assert [(one.chain, one.x, one.y) for one in passes] == [(1, -1, -1), (1, -1, 0), (1, -1, 1)] * drains
    values = torch.round(images / network.input.scale).long()
    golden = run(network, values.numpy())
    assert all((golden[name] == tensor.numpy()).all() for name, tensor in integer.run(network, values).items())
    assert (execute(image, values[0].numpy()).output == golden[network.layers[-1].name][0]).all()


def test_members_of_a_mixture_know_it_too():
    weight = {"quantizer": "relax", "members": [{"quantizer": "subset", "bits": 2}, {"quantizer": "float"}]}
    model, _ = quantized(weight)
    assert [layer.weight_quantizer.chosen.grouped for layer in model.conv_layers] == [True, False]


def test_menus_without_zero_take_what_they_have():
    model, _ = quantized({"quantizer": "subset", "bits": 3, "menus": "3 1 + 2 0"})
    assert all(layer.weight_quantizer.levels.min() > 0 for layer in model.conv_layers)
