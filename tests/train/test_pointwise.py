"""Activations by table: every entry, every way to write them, and the same integers everywhere."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.train.agreement import BUILD, agree, randomised
from twofold.golden.network import INPUT
from twofold.train import integer
from twofold.train.add_layer import AddLayer
from twofold.train.convert import calibrate, convert
from twofold.train.data import InputFormat
from twofold.train.export import export
from twofold.train.exported_formats import table_of
from twofold.train.hooks import QuantTraining
from twofold.train.pointwise import FUNCTIONS, MODULES, Pointwise
from twofold.train.quantizers import ActivationQuantizer
from twofold.train.recipe import parse_recipe
from twofold.train.skip import Skip

CELU, SELU_ALPHA, SELU_SCALE = 0.7, 1.6732632423543772, 1.0507009873554805
#: Layers, and the same by hand.
CASES = {
    "leaky": (nn.LeakyReLU(0.1), lambda x: x if x > 0 else 0.1 * x),
    "prelu": (nn.PReLU(init=0.25), lambda x: x if x > 0 else 0.25 * x),
    "sigmoid": (nn.Sigmoid(), lambda x: 1 / (1 + math.exp(-x))),
    "hardsigmoid": (nn.Hardsigmoid(), lambda x: min(max(x + 3, 0), 6) / 6),
    "hardswish": (nn.Hardswish(), lambda x: x * min(max(x + 3, 0), 6) / 6),
    "hardtanh": (nn.Hardtanh(-0.7, 1.1), lambda x: min(max(x, -0.7), 1.1)),
    "silu": (nn.SiLU(), lambda x: x / (1 + math.exp(-x))),
    "tanh": (nn.Tanh(), math.tanh),
    "elu": (nn.ELU(0.5), lambda x: x if x > 0 else 0.5 * math.expm1(x)),
    "celu": (nn.CELU(CELU), lambda x: x if x > 0 else CELU * math.expm1(x / CELU)),
    "selu": (nn.SELU(), lambda x: SELU_SCALE * (x if x > 0 else SELU_ALPHA * math.expm1(x))),
    "gelu": (nn.GELU(), lambda x: x * (1 + math.erf(x / math.sqrt(2))) / 2),
    "softplus": (nn.Softplus(2.0), lambda x: math.log1p(math.exp(2 * x)) / 2),
    "mish": (nn.Mish(), lambda x: x * math.tanh(math.log1p(math.exp(x)))),
    "softsign": (nn.Softsign(), lambda x: x / (1 + abs(x))),
}


def layer(function, before, output):
    made = AddLayer("f", (1, 1, 1), (Skip(INPUT),), function=function)
    made.before, made.quantizer = before, output
    return made


def quantizer(signed=True, scale=1 / 16, bits=8):
    return ActivationQuantizer(bits=bits, signed=signed, scale=scale)


@pytest.mark.parametrize("name", CASES)
def test_every_entry_is_the_function_rounded(name):
    module, by_hand = CASES[name]
    function = Pointwise.of_module(module)
    scale = 0.0307 if function.nonnegative else 0.0503  # no result lies half-way between two
    table = table_of(layer(function, quantizer(), quantizer(not function.nonnegative, scale, 7)))
    assert (table.bits, table.signed, table.scale, table.low, table.high) == (8, True, 1 / 16, -128, 127)
    low, high = (0, 127) if function.nonnegative else (-64, 63)
    wanted = [min(max(round(by_hand(n / 16) / scale), low), high) for n in range(-128, 128)]
    assert table.entries.tolist() == wanted
    assert function.nonnegative == all(by_hand(n / 16) >= 0 for n in range(-128, 128))


def test_every_function_is_among_them():
    assert {Pointwise.of_module(module).name for module, _ in CASES.values()} == set(FUNCTIONS) == set(MODULES.values())
    assert Pointwise.of_module(nn.ReLU()) is None


class Ways(nn.Module):
    """The same functions as layers, functions and methods, in place too; on the input, and on a padded tensor."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.act = nn.Conv2d(2, 4, 1), nn.BatchNorm2d(4), nn.LeakyReLU(0.3, inplace=True)
        self.depth, self.last = nn.Conv2d(4, 4, 3, groups=4), nn.Linear(4, 3)

    def forward(self, x):
        y = self.act(self.norm(self.conv(F.elu(x, 0.5))))
        z = F.pad(y, (1, 1, 1, 1)).sigmoid()
        z = self.depth(z) + y
        F.leaky_relu(z, 0.2, True)
        z = F.gelu(z, approximate="tanh") + torch.tanh(y)
        return F.softplus(self.last(F.hardswish(z).mean((2, 3))), beta=0.5)


@pytest.fixture(scope="module")
def ways():
    torch.manual_seed(0)
    return agree(randomised(Ways()), (2, 5, 4), config=replace(BUILD, tables=16), runs=1)


def test_integers_are_the_same_everywhere_and_near_the_model(ways):
    model, network, _, gap = ways
    found = {one.name: None if one.table is None else one.table.signed for one in network.layers}
    functions = {one.name: one.function.name for one in model.quant_layers if one.function}
    assert [functions[name] for name, table in found.items() if table] == [
        *("elu", "leaky_relu", "sigmoid", "leaky_relu", "gelu", "tanh", "hardswish", "softplus"),
    ]
    assert gap < 0.1


def test_fake_quantized_results_are_those_integers():
    chain = nn.Sequential(
        *(nn.Conv2d(2, 4, 3), nn.LeakyReLU(0.1), nn.Conv2d(4, 4, 1, groups=2), nn.Hardswish(), nn.Tanh()),
        *(nn.Flatten(), nn.Linear(24, 5), nn.PReLU()),
    )
    model, network, _, _ = agree(randomised(chain), (2, 5, 4), config=replace(BUILD, tables=4), runs=0)
    # Biases are rounded when a model is exported: none of these values lies so near a tie that it matters.
    x = torch.randint(-128, 128, (16, 2, 5, 4), generator=torch.Generator().manual_seed(5))
    ours, theirs = integer.run(network, x), model.trace(x.float() / 64)
    assert sum(one.table is not None for one in network.layers) == 4
    for one in network.layers:
        assert torch.equal(ours[one.name], torch.round(theirs[one.name] / one.output.scale).long()), one.name


def test_a_scale_before_a_function_is_chosen_for_its_results():
    x = torch.linspace(-400, 400, 4001)
    plain, through = (ActivationQuantizer(bits=8, signed=True) for _ in range(2))
    through.through = Pointwise("sigmoid")
    errors = []
    for one in (plain, through):
        one.calibrate(x)
        errors.append(float((torch.sigmoid(one(x)) - torch.sigmoid(x)).square().mean()))
    assert errors[1] < errors[0] / 10


def test_scales_before_functions_are_trained_and_powers_of_two_where_the_others_are():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 2, 1), nn.SiLU())
    for kind in ("lsq", "po2"):
        rule = {
            "match": "*",
            "weight": {"quantizer": "uniform", "bits": 4},
            "activation": {"bits": 4, "quantizer": kind},
        }
        recipe = parse_recipe({"name": "own", "method": "qat", "layer": [rule]})
        model = convert(net, recipe, InputFormat((1, 4, 4), scale=1 / 255))
        x = torch.rand(8, 1, 4, 4)
        calibrate(model, x)
        (one,) = model.quant_layers
        before = float(one.before.scale)
        assert (one.before.bits, one.before.signed, one.quantizer.bits) == (8, True, 4)
        with QuantTraining(model, steps=2) as training:
            optimizer = torch.optim.SGD(training.groups(), lr=0.1)
            with training.step(optimizer):
                model(x).square().sum().backward()
        assert (float(one.before.scale) != before) == (kind == "lsq")
        if kind == "po2":
            assert math.log2(float(one.before.scale)) % 1 == 0
            assert one.before.power.grad is None or one.before.power.requires_grad is False


@pytest.mark.parametrize("slopes", [(0.25, -0.5), (0.25, 1.5)])
def test_a_prelu_of_several_slopes_is_a_sum_of_scaled_tensors(slopes):
    several = nn.PReLU(2)
    several.weight.data = torch.tensor(slopes)
    model = randomised(nn.Sequential(nn.Conv2d(1, 2, 1), several, nn.Flatten(), nn.Linear(32, 2), several))
    _, network, _, gap = agree(model, (1, 4, 4))
    first = ["0", "1.mul", *(["1.relu"] if max(slopes) > 1 else []), "1.mul_1", "1.add", "3"]
    assert [layer.name for layer in network.layers][: len(first)] == first
    assert len(network.layers) == 2 * len(first) - 2 and gap < 0.1
    assert all(layer.table is None for layer in network.layers)


def test_a_build_without_tables_takes_the_export_and_the_mapper_says_what_it_needs(ways):
    model, network, _, _ = ways
    exported = export(model, BUILD)
    assert [one.table is None for one in exported.layers] == [one.table is None for one in network.layers]
    for one, other in zip(exported.layers, network.layers, strict=True):
        if one.table is not None:
            np.testing.assert_array_equal(one.table.entries, other.table.entries)
