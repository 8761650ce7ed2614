"""Batch norm kept in training: the same function before and after, whatever quantizes the weights."""

import weakref
from dataclasses import replace

import pytest
import torch
from torch import nn

from tests.train.test_export import randomise
from tests.train.test_methods import WEIGHTS, check, rules
from tests.train.test_resume import StoppedError, few, interrupt  # noqa: F401
from twofold.train.convert import calibrate, convert
from twofold.train.data import InputFormat
from twofold.train.export import export
from twofold.train.hooks import settle
from twofold.train.loop import FitOptions
from twofold.train.models import build_model
from twofold.train.norm import LEAST_GAIN, gains
from twofold.train.pipelines import train_quantized
from twofold.train.recipe import TrainSettings, load_recipe
from twofold.train.run_files import STATE
from twofold.train.snap import snap

POWERS = ("po2_gradient", "po2_msqe")
SHAPE = (3, 6, 6)
FORM = InputFormat(SHAPE, bits=8, signed=False, scale=1 / 100)
KEEP = TrainSettings(epochs=2, batch=64, lr=0.01, batch_norm="keep", settle=0.0)


class Small(nn.Module):
    """With everything that a norm can have: a bias before it, no factors of its own, negative factors, a residual."""

    def __init__(self):
        super().__init__()
        self.one = nn.Conv2d(3, 8, 3, padding=1)
        self.two = nn.Conv2d(8, 8, 3, padding=1, bias=False)
        self.three = nn.Conv2d(8, 4, 1)
        self.norm1, self.norm2, self.norm3 = nn.BatchNorm2d(8, affine=False), nn.BatchNorm2d(8), nn.BatchNorm2d(4)
        self.linear = nn.Linear(4 * 36, 5)

    def forward(self, x):
        x = torch.relu(self.norm1(self.one(x)))
        x = torch.relu(self.norm2(self.two(x)) + x)
        return self.linear(torch.flatten(torch.relu(self.norm3(self.three(x))), 1))


def small():
    torch.manual_seed(0)
    model = Small()
    for norm in (model.norm1, model.norm2, model.norm3):
        norm.running_mean.normal_(0, 0.3)
        norm.running_var.uniform_(0.3, 2)
    for norm in (model.norm2, model.norm3):
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.normal_(norm.bias, 0, 0.3)
    with torch.no_grad():
        model.norm2.weight[1] *= -1
        model.norm3.weight[::2] *= -1
    return model.eval()


def images(count=32):
    return torch.randint(0, 100, (count, *SHAPE), generator=torch.Generator().manual_seed(1)).float() / 100


def kept(weight, activation=None):
    recipe = replace(rules(weight, activation or {"bits": 8}), train=KEEP)
    return recipe, convert(small(), recipe, FORM, training=True)


def test_in_float_it_computes_what_the_model_does():
    _, quantized = kept({"quantizer": "lsq", "bits": 4})
    assert [layer.norm is not None for layer in quantized.conv_layers] == [True, True, True, False]
    quantized.enable(False)
    x = images()
    with torch.no_grad():
        assert torch.allclose(quantized(x), small()(x), atol=1e-5)
        factors = [gains(layer.norm) for layer in quantized.conv_layers if layer.norm is not None]
        assert all((factor >= factor.max() * LEAST_GAIN * 0.999).all() and factor.min() > 0 for factor in factors)


def test_training_normalises_by_the_batch():
    _, quantized = kept({"quantizer": "lsq", "bits": 4})
    quantized.enable(False)
    model = small().train()
    quantized.train()
    with torch.no_grad():
        assert torch.allclose(quantized(images()), model(images()), atol=1e-5)
    assert torch.allclose(quantized.conv_layers[1].norm.running_var, model.norm2.running_var)


@pytest.mark.parametrize("method", [name for name in WEIGHTS if name not in POWERS])
def test_folding_changes_nothing_and_gives_the_usual_model(method):
    """After a step of training; the folded model is one that a run's folder can hold, and exports exactly."""
    recipe, quantized = kept(WEIGHTS[method][0], {"bits": 6})
    calibrate(quantized, images())
    quantized.train()
    quantized.begin()
    quantized.on_step(0, 1, 0)
    optimizer = torch.optim.SGD([p for p in quantized.parameters() if p.requires_grad], 0.01)
    (quantized(images()).square().mean() + quantized.penalty()).backward()
    optimizer.step()
    quantized.after_step()
    settle(quantized)
    quantized.eval()
    with torch.no_grad():
        # Without the rounding of activations, so that a last bit does not become a step.
        for layer in quantized.quant_layers:
            layer.quantizer.enabled = False
        before = quantized(images())
        quantized.fold()
        assert torch.allclose(quantized(images()), before, atol=1e-4 * float(before.abs().max()))
        for layer in quantized.quant_layers:
            layer.quantizer.enabled = True
    again = convert(small(), recipe, FORM)
    again.load_state_dict(quantized.state_dict())
    config = WEIGHTS[method][1][0]
    snap(quantized, config)
    network = export(quantized, config)
    check(quantized, network, (images(8) * 100).long())


@pytest.mark.parametrize("method", POWERS)
def test_powers_of_two_stay_powers_of_two(method):
    with pytest.raises(
        ValueError,
        match=r"^Layer 'two': train\.batch_norm must be 'fold' where scales are powers of two, not 'keep'$",
    ):
        kept(WEIGHTS[method][0])


def test_factors_stay_in_reach():
    """A channel that training would turn over or let vanish keeps a small factor."""
    _, quantized = kept({"quantizer": "lsq", "bits": 4})
    norm = quantized.conv_layers[1].norm
    with torch.no_grad():
        norm.weight[0], norm.weight[1] = -2.0, 0.0
    quantized.after_step()
    factor = gains(norm)
    assert torch.allclose(factor[:2], factor.max() * LEAST_GAIN)


def test_two_norms_after_a_convolution():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 1))
    recipe = replace(rules({"quantizer": "lsq", "bits": 4}, {"bits": 8}), train=KEEP)
    with pytest.raises(
        ValueError,
        match=r"^Layer '2' must be the only batch norm of its convolution where norms are kept$",
    ):
        convert(model, recipe, FORM, training=True)
    x = images(4)
    quantized = convert(randomise(model), recipe, FORM)
    quantized.enable(False)
    with torch.no_grad():
        assert torch.allclose(quantized(x), model(x), atol=1e-5)


@pytest.mark.parametrize("kind", ["lsq", "pact", "minmax", "sigma", "attention"])
def test_results_of_the_norm_are_not_kept(kind, monkeypatch):
    """They are computed once more on the way back: less memory, the same gradients and statistics."""
    found, alive = [], []
    for again in (True, False):
        _, quantized = kept({"quantizer": "lsq", "bits": 4, "learn": True}, {"quantizer": kind, "bits": 4})
        calibrate(quantized, images())
        quantized.train()
        quantized.begin()
        for part in quantized.quantizers():
            for parameter in part.trained():
                parameter.requires_grad_(True)
        if not again:
            monkeypatch.setattr("twofold.train.layers.normalise", lambda norm, x: (norm(x), None))
        seen = []
        for layer in quantized.quant_layers[:3]:
            layer.quantizer.register_forward_pre_hook(lambda _, inputs, seen=seen: seen.append(weakref.ref(inputs[0])))
        y = quantized(images())
        alive.append(sum(result() is not None for result in seen))
        y.square().mean().backward()
        found.append(
            {"y": y.detach()}
            | {name: parameter.grad for name, parameter in quantized.named_parameters() if parameter.grad is not None}
            | {name: buffer for name, buffer in quantized.named_buffers() if "running" in name or "tracked" in name}
        )
    assert len(seen) == 3 and alive[0] < alive[1]
    assert found[0].keys() == found[1].keys() and len(found[0]) > 12
    for name, wanted in found[1].items():
        torch.testing.assert_close(found[0][name], wanted, rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.parametrize("stop", [2, 4])
def test_a_resumed_training_in_stages_ends_folded_and_with_the_same_bits(tmp_path, few, stop):  # noqa: F811
    recipe = load_recipe("recipes/sigma_w3a3.toml")
    recipe = replace(recipe, train=replace(recipe.train, epochs=2, batch=64, again=False))
    assert recipe.train.batch_norm == "keep"
    torch.manual_seed(0)
    model = build_model("demo").eval()

    def trained(**how):
        quantized = convert(model, recipe, few.input, training=True)
        train_quantized(quantized, model, few, recipe, **how)
        return quantized

    whole = trained()
    assert all(layer.norm is None for layer in whole.conv_layers)
    options = FitOptions(state=tmp_path / STATE)
    with pytest.raises(StoppedError):
        trained(report=interrupt(stop), options=options)
    resumed = trained(options=replace(options, resume=True)).state_dict()
    assert all(torch.equal(resumed[name], tensor) for name, tensor in whole.state_dict().items())
