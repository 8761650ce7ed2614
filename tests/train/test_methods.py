"""Every weight quantizer of every method: what training computes is what is exported, integer for integer."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.train.test_export import ASYMMETRIC, LOG, MODELS, SUBSET, SUBSET3
from twofold.golden import layers as golden_layers
from twofold.golden.network import INPUT
from twofold.train import integer
from twofold.train.convert import calibrate, convert
from twofold.train.data import InputFormat
from twofold.train.export import export
from twofold.train.hooks import settle
from twofold.train.quantizers import ACTIVATIONS, QUANTIZERS, build_quantizer
from twofold.train.recipe import parse_recipe
from twofold.train.snap import _rescale, snap

LOG4 = replace(LOG, name="log4", word_bits=4)
LOG5 = replace(LOG, name="log5", word_bits=5, acc_width=32)
THREE = [{"quantizer": "minmax", "bits": 2}, {"quantizer": "minmax", "bits": 4}, {"quantizer": "minmax", "bits": 8}]
TWO = [{"quantizer": "binary"}, {"quantizer": "ternary"}, {"quantizer": "float"}]
#: Method, and the builds that it is exported to.
WEIGHTS = {
    "apot2": ({"quantizer": "apot", "bits": 2}, (LOG, SUBSET)),
    "apot3": ({"quantizer": "apot", "bits": 3}, (LOG, SUBSET3, ASYMMETRIC)),
    "apot4": ({"quantizer": "apot", "bits": 4, "clips": True}, (SUBSET, LOG)),
    "apot4_full": ({"quantizer": "apot", "bits": 4, "normalise": "full", "alpha": 3.0}, (SUBSET,)),
    "apot5": ({"quantizer": "apot", "bits": 5, "normalise": "none"}, (LOG4, SUBSET)),
    "apot6": ({"quantizer": "apot", "bits": 6}, (LOG5, LOG)),
    "attention": ({"quantizer": "attention", "members": THREE}, (LOG, SUBSET)),
    "binary": ({"quantizer": "binary"}, (LOG, ASYMMETRIC, SUBSET, SUBSET3)),
    "binary_channel": ({"quantizer": "binary", "granularity": "channel"}, (LOG,)),
    "deepshift": ({"quantizer": "deepshift", "bits": 5}, (LOG5,)),
    "deepshift3": ({"quantizer": "deepshift", "bits": 3, "top_exponent": -1}, (LOG,)),
    "lsq2": ({"quantizer": "lsq", "bits": 2, "learn": True}, (LOG, ASYMMETRIC, SUBSET)),
    "lsq3": ({"quantizer": "lsq", "bits": 3, "learn": True, "granularity": "channel"}, (LOG, SUBSET3)),
    "minmax1": ({"quantizer": "minmax", "bits": 1}, (LOG,)),
    "minmax2": ({"quantizer": "minmax", "bits": 2}, (LOG, SUBSET, ASYMMETRIC)),
    "minmax3_integer": ({"quantizer": "minmax", "bits": 3, "offset_bits": 0}, (SUBSET3,)),
    "minmax8": ({"quantizer": "minmax", "bits": 8, "offset_bits": 1}, (LOG, SUBSET)),
    "po2_gradient": ({"quantizer": "po2_gradient", "bits": 4, "learn": True}, (LOG, SUBSET)),
    "po2_msqe": ({"quantizer": "po2_msqe", "bits": 3, "granularity": "channel"}, (LOG,)),
    "relax": ({"quantizer": "relax", "members": TWO}, (LOG, SUBSET)),
    "sawb2": ({"quantizer": "sawb", "bits": 2}, (LOG, SUBSET, ASYMMETRIC)),
    "sawb4": ({"quantizer": "sawb", "bits": 4}, (LOG, SUBSET3)),
    "sigma2": ({"quantizer": "sigma", "bits": 2, "learn": True}, (LOG, SUBSET)),
    "sigma3": ({"quantizer": "sigma", "bits": 3, "learn": True}, (LOG, ASYMMETRIC, SUBSET)),
    "sigma_log3": ({"quantizer": "sigma", "bits": 3, "levels": "log", "learn": True}, (LOG, SUBSET)),
    "sigma_log4": ({"quantizer": "sigma", "bits": 4, "levels": "log", "learn": True}, (LOG4, LOG)),
    "stlq": ({"quantizer": "stlq", "bits": 3, "ratio": 0.25, "tile": [4, 4]}, (LOG,)),
    "subset": ({"quantizer": "subset", "bits": 4}, (SUBSET,)),
    "ternary": ({"quantizer": "ternary"}, (LOG, ASYMMETRIC, SUBSET)),
    "ternary_channel": ({"quantizer": "ternary", "granularity": "channel"}, (LOG,)),
    "uniform_max": ({"quantizer": "uniform", "bits": 8, "calibration": "max"}, (LOG, SUBSET)),
    "uniform_layer": ({"quantizer": "uniform", "bits": 4, "granularity": "layer"}, (LOG,)),
}
CASES = [pytest.param(name, config, id=f"{name}-{config.name}") for name in WEIGHTS for config in WEIGHTS[name][1]]


def test_every_quantizer_is_here():
    assert {rule["quantizer"] for rule, _ in WEIGHTS.values()} == set(QUANTIZERS)


def quantizer_of(method, shape):
    options = {key: value for key, value in WEIGHTS[method][0].items() if key not in ("quantizer", "learn")}
    quantizer = build_quantizer(WEIGHTS[method][0]["quantizer"], shape, **options)
    for part in quantizer.modules():
        part.learn = True
    return quantizer


@pytest.mark.parametrize(("method", "config"), CASES)
def test_the_weights_of_training_are_codes_times_scale(method, config):
    """A few steps of training, then: forward in training mode, in evaluation and from the codes, the same bits."""
    torch.manual_seed(0)
    shape = (6, 5, 3, 3)
    weight = (torch.randn(shape) * torch.linspace(0.5, 1.5, 6).view(6, 1, 1, 1)).requires_grad_(True)
    weight.data[2] = 0
    weight.data[0, 0, 0, 0] = 0.0
    quantizer = quantizer_of(method, shape).train()
    quantizer.calibrate(weight.detach())
    quantizer.begin()
    trained = [p for part in quantizer.modules() if hasattr(part, "trained") for p in part.trained()]
    for parameter in trained:
        parameter.requires_grad_(True)
    optimizer = torch.optim.SGD([weight, *trained, *quantizer.aids()], 0.01)
    target = torch.randn(shape)
    for step in range(4):
        quantizer.on_step(step, 4, step)
        ((quantizer(weight) - target) ** 2).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
        for part in quantizer.modules():
            if hasattr(part, "after_step"):
                part.after_step()
    in_training = quantizer(weight).detach()
    for part in quantizer.modules():
        if hasattr(part, "finish"):
            part.finish()
    for parameter in trained:
        parameter.requires_grad_(False)
    frozen = quantizer(weight).detach()
    quantizer.eval()
    out = quantizer(weight).detach()
    assert torch.equal(out, frozen)
    if method not in ("attention", "relax", "stlq"):
        assert torch.equal(out, in_training)
    coded = quantizer.encode(weight.detach(), config.fmt)
    values = np.array(coded.points.values, dtype=np.int64)[coded.codes]
    integers = (values << np.array(coded.shifts).reshape(-1, 1, 1, 1, 1)).sum(axis=0)
    assert len(np.unique(integers)) > 1
    scale = torch.tensor(coded.scale).view(-1, 1, 1, 1)
    assert torch.equal((torch.tensor(integers).double() * scale).float(), out)
    quantizer.rescale(torch.full((6,), 1.0))
    assert torch.equal(quantizer(weight), out)


def rules(weight, activation):
    eight = {"quantizer": "uniform", "bits": 8}
    last = activation | {"bits": 8, "calibration": "max"}
    return parse_recipe(
        {
            "name": "test",
            "method": "qat",
            "layer": [
                {"match": "*", "weight": weight, "activation": activation},
                {"match": "@first", "weight": eight},
                {"match": "@last", "weight": eight, "activation": last},
            ],
        }
    )


def exported(name, recipe, config, seed=0):
    """Converted, calibrated, trained for a step, settled, snapped and exported; with input integers."""
    make, shape = MODELS[name]
    torch.manual_seed(seed)
    quantized = convert(make().eval(), recipe, InputFormat(shape, bits=8, signed=False, scale=2**-8))
    images = torch.randint(0, 256, (4, *shape), generator=torch.Generator().manual_seed(seed + 1))
    calibrate(quantized, images * 2.0**-8)
    quantized.train()
    quantized.begin()
    quantized.on_step(0, 1, 0)
    (quantized(images * 2.0**-8).square().sum() + quantized.penalty()).backward()
    quantized.after_step()
    settle(quantized)
    quantized.eval()
    snap(quantized, config)
    return quantized, export(quantized, config), images


def check(quantized, network, images):
    """PyTorch's integers are golden's; and what each layer of the model computes from them is within an LSB of them."""
    images = images.reshape(len(images), *network.input.shape)
    found = integer.run(network, images)
    wanted = golden_layers.run(network, images.numpy())
    tensors = {INPUT: images * network.input.scale}
    for layer in network.layers:
        assert np.array_equal(found[layer.name].numpy(), wanted[layer.name])
        tensors[layer.name] = torch.tensor(wanted[layer.name] * layer.output.scale).float()
    for layer, module in zip(network.layers, quantized.quant_layers, strict=True):
        with torch.no_grad():
            apart = (module(tensors) - tensors[layer.name]).abs().max()
        assert apart <= 1.01 * layer.output.scale
    assert len(np.unique(wanted[network.output.name])) > 2


@pytest.mark.parametrize(("method", "config"), CASES)
def test_exported_network_is_that_of_golden(method, config):
    name = ("residual", "plain", "mobile", "dense")[sorted(WEIGHTS).index(method) % 4]
    check(*exported(name, rules(WEIGHTS[method][0], {"bits": 6}), config))


@pytest.mark.parametrize("kind", sorted(ACTIVATIONS))
@pytest.mark.parametrize("name", ["residual", "sums"])
def test_exported_activations(kind, name):
    activation = {"quantizer": kind, "bits": 4} | ({"more_bits": [6, 8]} if kind == "attention" else {})
    check(*exported(name, rules({"quantizer": "lsq", "bits": 4, "learn": True}, activation), SUBSET))


@pytest.mark.parametrize(
    ("method", "config", "words"),
    [
        ("apot2", LOG, 1),
        ("apot3", LOG, 1),
        ("apot3", SUBSET3, 1),
        ("apot3", LOG5, 1),
        ("apot4", SUBSET, 1),
        ("apot4", LOG, 2),
        ("apot4", LOG4, 2),
        ("apot5", LOG4, 2),
        ("apot6", LOG5, 3),
        ("binary", LOG, 1),
        ("binary", SUBSET, 1),
        ("ternary", SUBSET3, 1),
        ("ternary", ASYMMETRIC, 1),
        ("sawb2", LOG, 2),
        ("sawb2", SUBSET, 1),
        ("sawb2", SUBSET3, 1),
        ("sawb4", SUBSET, 2),
        ("minmax2", LOG, 2),
        ("minmax8", SUBSET, 3),
        ("lsq3", SUBSET, 1),
        ("lsq2", LOG, 1),
        ("sigma_log3", LOG, 1),
        ("sigma_log3", LOG4, 1),
        ("sigma_log3", SUBSET, 1),
        ("sigma_log4", LOG4, 1),
        ("sigma_log4", LOG, 4),
        ("deepshift", LOG5, 1),
        ("deepshift3", LOG, 1),
        ("deepshift3", SUBSET3, 1),
        ("sigma2", LOG, 1),
        ("sigma3", SUBSET, 1),
        ("uniform_max", LOG, 4),
        ("uniform_max", SUBSET, 3),
    ],
)
def test_words_a_weight(method, config, words):
    """As few passes as the level set allows. 4-bit APoT, times two, is in universal set 5; 3-bit APoT is a log word."""
    weight = torch.linspace(-3, 3, 90).reshape(2, 5, 3, 3)
    quantizer = quantizer_of(method, (2, 5, 3, 3))
    quantizer.calibrate(weight)
    coded = quantizer.encode(weight, config.fmt)
    assert len(coded.codes) == words
    assert words > 1 or np.array_equal(coded.shifts, [0])


@pytest.mark.parametrize(("bits", "keeps"), [(2, True), (8, False)])
def test_snapping_keeps_integers_where_that_changes_the_weights_less(bits, keeps):
    """Two bits, and weights beside thresholds: the integers stay. Eight bits: they are found anew."""
    torch.manual_seed(0)
    rule = rules({"quantizer": "uniform", "bits": bits, "granularity": "layer"}, {"bits": 8})
    quantized = convert(MODELS["plain"][0]().eval(), rule, InputFormat((3, 6, 6), scale=2**-8))
    calibrate(quantized, torch.rand(8, 3, 6, 6))
    layer = quantized.conv_layers[1]
    quantizer = layer.weight_quantizer
    if keeps:
        layer.float_weight.data.copy_(
            quantizer.scale[0] * (torch.round(layer.float_weight / quantizer.scale[0]) + 0.49)
        )
    before, floats = layer.weight.detach().clone(), layer.float_weight.detach().clone()

    def integers():
        return torch.round(layer.weight.detach() / (quantizer.scale * quantizer.gain).view(-1, 1, 1, 1))

    codes = integers()
    with torch.no_grad():
        _rescale(layer, torch.full((6,), 0.97))
    assert torch.equal(layer.float_weight, floats) and not torch.equal(layer.weight, before)
    assert torch.equal(integers(), codes) is keeps
    assert torch.allclose(quantizer.scale * quantizer.gain, quantizer.scale[0] * quantizer.gain[0])
    assert ((layer.weight - before).norm() / before.norm()) < 0.031
    snap(quantized, LOG)
    errors = [facts["multiplier_error"] for facts in export(quantized, LOG).meta["layers"].values()]
    assert max(errors) < 1e-6
