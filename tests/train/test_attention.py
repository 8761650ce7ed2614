"""[DQA] by hand: start, normalisation and gradients of attention, temperatures, penalty, and what is left."""

import math
import re

import pytest
import torch
from torch import nn

from twofold.golden.catalog import log_format
from twofold.train.convert import calibrate, convert
from twofold.train.data import InputFormat
from twofold.train.quantizers import (
    AttentionActivation,
    AttentionQuantizer,
    BinaryQuantizer,
    RelaxQuantizer,
    UniformQuantizer,
    build_quantizer,
)
from twofold.train.quantizers.attention import initial_attention, penalties, temperature
from twofold.train.recipe import parse_recipe

THREE = [{"quantizer": "minmax", "bits": bits} for bits in (2, 4, 8)]


def mixture(shape=(1, 4, 1, 1), members=THREE, **options):
    return AttentionQuantizer(shape, members=members, **options).train()


def test_start():
    assert initial_attention((2, 4, 8)).tolist() == pytest.approx([12 / 14, 10 / 14, 6 / 14])
    assert mixture().alpha.tolist() == pytest.approx([12 / 14, 10 / 14, 6 / 14])
    bits = [{"quantizer": "binary"}, {"quantizer": "ternary"}, {"quantizer": "float"}]
    assert mixture(members=bits).alpha.tolist() == pytest.approx([34 / 35, 33 / 35, 3 / 35])


def test_temperature():
    assert temperature(299, 300) == pytest.approx(0.03)
    assert temperature(149, 300) == pytest.approx(math.sqrt(3))  # halfway the geometric mean
    psi = (0.03 / 100) ** (1 / 300)
    assert temperature(0, 300) == pytest.approx(100 * psi)
    assert temperature(7, 300) == pytest.approx(100 * psi**8)
    quantizer = mixture(hot=8.0, cold=0.5)
    assert float(quantizer.heat) == 8
    found = []
    for step in range(4):
        quantizer.on_step(step, 4, 0)
        found.append(float(quantizer.heat))
    assert found == pytest.approx([4, 2, 1, 0.5])


def test_normalisation_is_by_the_unbiased_deviation():
    quantizer = mixture()
    quantizer.alpha.data.copy_(torch.tensor([1.0, 2.0, 6.0]))  # deviations -2, -1, 3: variance 14 / 2
    quantizer.on_step(0, 10, 0)
    assert quantizer.alpha.tolist() == pytest.approx([value / math.sqrt(7) for value in (1, 2, 6)])
    quantizer.on_step(1, 10, 0)
    assert float(quantizer.alpha.detach().std()) == pytest.approx(1)


def test_shares_and_mixture():
    quantizer = mixture(members=[{"quantizer": "binary"}, {"quantizer": "float"}])
    quantizer.alpha.data.copy_(torch.tensor([math.log(3.0), 0.0]))
    quantizer.heat.fill_(1.0)
    assert quantizer.shares().tolist() == pytest.approx([0.75, 0.25])
    weight = torch.tensor([1.0, -3.0, 2.0, -2.0]).reshape(1, 4, 1, 1).requires_grad_(True)
    out = quantizer(weight)
    assert out.flatten().tolist() == pytest.approx([1.75, -2.25, 2.0, -2.0])
    quantizer.alpha.requires_grad_(True)
    (quantizer(weight) * torch.tensor([1.0, 10.0, 100.0, 1000.0]).view(1, 4, 1, 1)).sum().backward()
    assert weight.grad.flatten().tolist() == pytest.approx([1, 10, 100, 1000])  # straight-through, shares add up to 1
    # Softmax: a0 * a1 * (Q0 - Q1); Q0 - Q1 is 1, 1, 0, 0.
    assert quantizer.alpha.grad.tolist() == pytest.approx([0.75 * 0.25 * 11, -0.75 * 0.25 * 11], rel=1e-4)
    quantizer.heat.fill_(0.5)
    assert quantizer.shares().tolist() == pytest.approx([0.9, 0.1])


def test_penalty():
    assert penalties((2, 4, 8), None).tolist() == [1, 4, 16]
    assert penalties((8, 2, 4), None).tolist() == [16, 1, 4]
    quantizer = mixture(strength=5.0)
    quantizer.alpha.data.zero_()
    quantizer.network_weights = 100
    assert float(quantizer.penalty()) == pytest.approx(5 * 21 / 3 / 100)
    quantizer.finish()
    assert quantizer.penalty() is None
    assert mixture().penalty() is None
    other = mixture(strength=2.0, costs=[3, 0, 0])
    other.alpha.data.zero_()
    assert float(other.penalty()) == pytest.approx(2)


def test_the_largest_attention_is_left():
    quantizer = mixture()
    weight = torch.tensor([1.0, -3.0, 2.0, -1.9]).reshape(1, 4, 1, 1)
    quantizer.calibrate(weight)
    quantizer.alpha.data.copy_(torch.tensor([0.1, 0.9, 0.3]))
    with pytest.raises(ValueError, match=r"^Mixture must be one quantizer at export: call finish\(\) first"):
        quantizer.encode(weight, log_format(3))
    assert quantizer.metrics().keys() == {"attention0", "attention1", "attention2"}
    quantizer.finish()
    assert int(quantizer.choice) == 1 and quantizer.chosen is quantizer.members[1]
    assert quantizer.metrics() == {"attention0": (0, 1), "attention1": (1, 1), "attention2": (0, 1)}
    assert torch.equal(quantizer(weight), quantizer.members[1](weight))
    assert torch.equal(quantizer.scale, quantizer.members[1].scale)
    quantizer.alpha.data.copy_(torch.tensor([5.0, 0.0, 0.0]))
    quantizer.on_step(3, 10, 0)
    quantizer.finish()
    assert int(quantizer.choice) == 1 and quantizer.alpha.tolist() == [5, 0, 0]


def test_the_choice_is_kept_in_the_state():
    quantizer, other = mixture(), mixture()
    quantizer.calibrate(torch.randn(1, 4, 1, 1))
    quantizer.alpha.data.copy_(torch.tensor([0.0, 0.0, 1.0]))
    quantizer.finish()
    other.load_state_dict(quantizer.state_dict())
    assert int(other.choice) == 2 and not other.mixed
    weight = torch.randn(1, 4, 1, 1)
    assert torch.equal(other.eval()(weight), quantizer.eval()(weight))


def test_float_is_no_end():
    quantizer = mixture(members=[{"quantizer": "binary"}, {"quantizer": "float"}])
    quantizer.alpha.data.copy_(torch.tensor([0.0, 1.0]))
    quantizer.finish()
    with pytest.raises(ValueError, match=re.escape("Quantizer must not be 'float' at export: the mixture ended in it")):
        quantizer.encode(torch.ones(1, 4, 1, 1), log_format(3))


def test_activations_end_in_one_format():
    quantizer = AttentionActivation(bits=2, signed=False, member="pact", more_bits=(4, 8)).train()
    x = torch.relu(torch.randn(2, 500, generator=torch.Generator().manual_seed(0)))
    quantizer.calibrate(x)
    assert quantizer.alpha.tolist() == pytest.approx([12 / 14, 10 / 14, 6 / 14])
    shares = quantizer.shares()
    parts = [share * member(x) for share, member in zip(shares, quantizer.members, strict=True)]
    assert torch.equal(quantizer(x), sum(parts, torch.zeros(())))
    quantizer.alpha.data.copy_(torch.tensor([0.0, 2.0, 1.0]))
    quantizer.finish()
    assert (quantizer.bits, quantizer.low, quantizer.high) == (4, 0, 15)
    assert torch.equal(quantizer(x), quantizer.members[1](x))


def test_network_weights_are_those_of_all_layers():
    rule = {"quantizer": "attention", "members": THREE, "strength": 5.0}
    recipe = parse_recipe(
        {
            "name": "test",
            "method": "qat",
            "layer": [
                {"match": "*", "weight": rule, "activation": {"quantizer": "attention", "bits": 2, "strength": 3.0}},
            ],
        }
    )
    model = nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(), nn.Conv2d(5, 2, 1))
    quantized = convert(model, recipe, InputFormat((3, 6, 6), scale=1 / 256))
    calibrate(quantized, torch.rand(2, 3, 6, 6))
    shares = quantized.conv_layers[0].weight_quantizer.shares()
    expected = (5 + 5 + 3 + 3) * float((shares * torch.tensor([1.0, 4.0, 16.0])).sum()) / (3 * 5 * 9 + 10)
    assert quantized.penalty().item() == pytest.approx(expected)


def test_binary_relax():
    quantizer = RelaxQuantizer((1, 2, 1, 1), members=THREE).train()
    assert quantizer.shares().tolist() == pytest.approx([1 / 3] * 3)
    for epoch in (0, 10, 100):
        quantizer.on_step(0, 1, epoch)
        omega = 1.02**epoch
        assert quantizer.shares().tolist() == pytest.approx([omega / (omega + 2), 1 / (omega + 2), 1 / (omega + 2)])
    pair = RelaxQuantizer((1, 2, 1, 1), members=[{"quantizer": "binary"}, {"quantizer": "float"}], omega=3.0).train()
    weight = torch.tensor([1.0, -3.0]).reshape(1, 2, 1, 1)
    assert pair(weight).flatten().tolist() == pytest.approx([(3 * 2 + 1) / 4, (3 * -2 - 3) / 4])
    pair.finish()
    assert isinstance(pair.chosen, BinaryQuantizer) and pair(weight).flatten().tolist() == [2, -2]


def test_any_quantizer_is_a_member():
    members = [{"quantizer": "subset", "bits": 3}, {"quantizer": "uniform", "bits": 8}]
    quantizer = mixture((2, 3, 1, 1), members=members)
    quantizer.calibrate(torch.randn(2, 3, 1, 1))
    quantizer.alpha.data.copy_(torch.tensor([0.0, 1.0]))
    quantizer.finish()
    assert isinstance(quantizer.chosen, UniformQuantizer)
    quantizer.gain *= 2
    quantizer.rescale(torch.tensor([1.0, 2.0]))
    assert quantizer.members[1].gain.tolist() == [2, 2] and quantizer.members[0].gain.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: mixture(members=THREE[:1]), "Mixture must have at least two members, not 1"),
        (lambda: mixture(members=[{"bits": 3}, *THREE]), "Member must name its quantizer, not {'bits': 3}"),
        (
            lambda: mixture(members=[{"quantizer": "attention", "members": THREE}, *THREE]),
            "Member must be a quantizer, not the mixture 'attention'",
        ),
        (lambda: mixture(hot=1.0, cold=2.0), "Temperatures must fall to above 0, not go from 1.0 to 2.0"),
        (lambda: mixture(strength=-1.0), "Strength must be at least 0, not -1.0"),
        (lambda: mixture(costs=[1, 2]), "Penalties must be 3 numbers, not (1, 2)"),
        (
            lambda: AttentionActivation(bits=2, signed=False, more_bits=()),
            "Mixture must have at least two members, not 1",
        ),
        (
            lambda: AttentionActivation(bits=2, signed=False, member="attention"),
            "Member must be a quantizer, not the mixture 'attention'",
        ),
        (
            lambda: RelaxQuantizer((1, 1, 1, 1), members=THREE, growth=0.5),
            "Omega must be above 0 and growth at least 1, not 1.0 and 0.5",
        ),
    ],
)
def test_errors(make, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        make()


@pytest.mark.parametrize("pair", [("minmax", "sawb"), ("sawb", "sawb")])
def test_members_of_equal_bits_are_told_apart(pair):
    """Alpha begins with no spread at all: it must neither become NaN nor lose the difference."""
    torch.manual_seed(0)
    members = [{"quantizer": name, "bits": 2} for name in pair]
    quantizer = build_quantizer("attention", (4, 3, 3, 3), members=members).train()
    weight = torch.randn(4, 3, 3, 3)
    quantizer.calibrate(weight)
    wanted = quantizer.parts[0](weight).detach()
    quantizer.alpha.requires_grad_(True)
    optimizer = torch.optim.SGD([quantizer.alpha], 1e-4)
    for step in range(40):
        quantizer.on_step(step, 40, 0)
        ((quantizer(weight) - wanted) ** 2).mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        assert quantizer.alpha.isfinite().all() and quantizer.shares().isfinite().all()
        assert float(quantizer.alpha.detach().abs().max()) < 1e3
    quantizer.finish()
    assert torch.equal(quantizer(weight), wanted)  # the first is nearest to itself
