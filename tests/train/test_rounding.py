"""Fused rounding of activations, values and gradients by hand."""

import pytest
import torch

from twofold.train.convert import calibrate, convert
from twofold.train.data import InputFormat
from twofold.train.models import build_model
from twofold.train.quantizers import ActivationQuantizer
from twofold.train.quantizers.rounding import clip_rounded, round_clipped
from twofold.train.recipe import parse_recipe


@pytest.mark.parametrize("slack", [0.0, 0.5])
@pytest.mark.parametrize(("low", "high"), [(0, 15), (-8, 7), (0, 1)])
def test_value_and_gradients(low, high, slack):
    generator = torch.Generator().manual_seed(0)
    x = (torch.randn(4, 3, 5, 5, generator=generator, dtype=torch.float64) * 6).requires_grad_()
    scale = torch.tensor([0.7], dtype=torch.float64, requires_grad=True)
    weights = torch.randn(4, 3, 5, 5, generator=generator, dtype=torch.float64)
    y = round_clipped(x, scale, low, high, share=0.3, slack=slack)
    assert torch.equal(y, torch.round(x / scale).clamp(low, high) * scale)
    ours = torch.autograd.grad((y * weights).sum(), (x, scale))
    inside = (x > (low - slack) * scale) & (x < (high + slack) * scale)
    assert 0 < inside.double().mean() < 1
    assert torch.equal(ours[0], weights * inside)
    # The scale's gradient by hand: the error of rounding inside, the bound outside.
    error = torch.where(inside, y / scale - x / scale, y / scale)
    torch.testing.assert_close(ours[1], 0.3 * (weights * error).sum().reshape(1))
    assert ours[1].abs() > 1e-3


def test_gradient_is_that_of_learned_step_size():
    generator = torch.Generator().manual_seed(0)
    x = (torch.randn(2, 8, generator=generator) * 4).requires_grad_()
    quantizer = ActivationQuantizer(bits=3, signed=False, scale=None)
    quantizer.scale.data.fill_(0.5)
    quantizer.scale.requires_grad_(True)
    quantizer(x).sum().backward()
    v = x.detach() / 0.5
    slope = torch.where(v <= 0, 0.0, torch.where(v >= 7, 7.0, torch.round(v) - v))
    assert (v <= 0).any() and (v >= 7).any()
    torch.testing.assert_close(quantizer.scale.grad, slope.sum().reshape(1) / (8 * 7) ** 0.5)
    assert torch.equal(x.grad, ((v > 0) & (v < 7)).float())


def test_nothing_is_kept_but_what_is_there_anyway():
    kept = []
    x = torch.randn(64, 64, requires_grad=True)
    scale = torch.tensor([0.5], requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.data_ptr()) or t, lambda t: t):
        y = round_clipped(x, scale, 0, 15)
    assert set(kept) == {x.data_ptr(), scale.data_ptr(), y.data_ptr()}


def test_clipping_does_the_work_of_relu():
    recipe = parse_recipe(
        {
            "name": "u",
            "method": "qat",
            "layer": [
                {"match": "*", "weight": {"quantizer": "uniform", "bits": 4}, "activation": {"bits": 4}},
            ],
        }
    )
    torch.manual_seed(0)
    form = InputFormat((1, 8, 8), scale=1 / 16)
    quantized = convert(build_model("demo").eval(), recipe, form)
    images = torch.rand(8, 1, 8, 8)
    calibrate(quantized, images)
    tensors = quantized.read(images)
    for layer in quantized.quant_layers:
        y = layer.compute(tensors)
        tensors[layer.name] = layer(tensors)
        assert torch.equal(tensors[layer.name], layer.quantizer(layer.activate(y)))
    assert any(layer.relu and layer.quantizer.clips_negatives for layer in quantized.quant_layers)
    quantized.enable(False)
    assert all((quantized.trace(images)[layer.name] >= 0).all() for layer in quantized.quant_layers if layer.relu)


@pytest.mark.parametrize(("low", "high"), [(0, 7), (-4, 3)])
def test_gradient_of_a_clipping_level(low, high):
    generator = torch.Generator().manual_seed(0)
    x = (torch.randn(4, 3, 5, 5, generator=generator, dtype=torch.float64) * 3).requires_grad_()
    level = torch.ones(1, dtype=torch.float64, requires_grad=True)
    scale = torch.tensor([0.4], dtype=torch.float64)
    weights = torch.randn(4, 3, 5, 5, generator=generator, dtype=torch.float64)
    y = clip_rounded(x, level, scale, low, high, factor=0.3)
    assert torch.equal(y, torch.round(x / scale).clamp(low, high) * scale)
    ours = torch.autograd.grad((y * weights).sum(), (x, level))
    above, below = x >= high * scale, x <= low * scale
    assert above.any() and below.any()
    assert torch.equal(ours[0], weights * ~(above | below))
    wanted = weights[above].sum() - (weights[below].sum() if low else 0)
    torch.testing.assert_close(ours[1], 0.3 * wanted.reshape(1))
    assert ours[1].abs() > 1e-3
