"""[Sigma]: levels, standard deviations, gradients, weight decay, re-scaling and the second phase, by hand."""

import math
import re

import pytest
import torch

from twofold.golden import catalog
from twofold.train.quantizers.sigma import (
    SigmaActivation,
    SigmaQuantizer,
    activation_deviation,
    gradient_scale,
    weight_deviation,
)


def row(*values):
    return torch.tensor(values).reshape(1, -1, 1, 1)


def quantizer_of(weight, alpha, **options):
    """In training, largest level at `alpha` standard deviations."""
    quantizer = SigmaQuantizer(tuple(weight.shape), **options).train()
    quantizer.learn = True
    quantizer.alpha.data.fill_(alpha)
    quantizer.alpha.requires_grad_(True)
    return quantizer


def test_uniform_levels():
    for bits, top in ((2, 1), (3, 3), (4, 7), (8, 127)):
        quantizer = SigmaQuantizer((1, 1, 1, 1), bits=bits)
        assert quantizer.top == top
        assert quantizer.integers(torch.tensor([-1e6, -0.5, 0.49, 1e6])).tolist() == [-top, 0, 0, top]


@pytest.mark.parametrize(("bits", "levels"), [(2, [1]), (3, [1, 2, 4]), (4, [1, 2, 4, 8, 16, 32, 64])])
def test_log_levels(bits, levels):
    quantizer = SigmaQuantizer((1, 1, 1, 1), bits=bits, levels="log")
    assert quantizer.top == levels[-1]
    found = quantizer.integers(torch.linspace(-2 * levels[-1], 2 * levels[-1], 4001)).unique().tolist()
    assert found == [-level for level in reversed(levels)] + [0] + levels
    assert sorted(catalog.log_points(catalog.log_format(bits)).codes) == found


def test_log_rounds_the_logarithm():
    quantizer = SigmaQuantizer((1, 1, 1, 1), bits=3, levels="log")
    x = torch.tensor([0.0, 0.70, 0.71, 1.41, 1.42, -2.82, -2.84, 4.0, 99.0])
    assert quantizer.integers(x).tolist() == [0, 0, 1, 1, 2, -2, -4, 4, 4]


def test_deviations():
    assert weight_deviation(torch.tensor([3.0, 5.0, -1.0, 1.0])).item() == pytest.approx(3)  # about 0, not about 2
    # -5 and 0 are dropped; 3 and 4 with their mirror images have mean 0.
    x = torch.tensor([-5.0, 3.0, 4.0, 0.0])
    assert activation_deviation(x, False).item() == pytest.approx(math.sqrt(12.5))
    assert activation_deviation(x, True).item() == pytest.approx(math.sqrt(12.5))
    assert activation_deviation(torch.tensor([-5.0, 3.0]), True).item() == pytest.approx(math.sqrt(17))
    assert activation_deviation(torch.tensor([-5.0, 0.0]), False).item() == 0


def test_scale_follows_the_weights():
    weight = row(3.0, 5.0, -1.0, 1.0)
    quantizer = quantizer_of(weight, 1.4, bits=3)
    assert quantizer(weight).flatten().tolist() == pytest.approx([2.8, 4.2, -1.4, 1.4])
    assert quantizer.scale.tolist() == pytest.approx([1.4])  # 1.4 * 3 / 3
    quantizer(2 * weight)
    assert quantizer.scale.tolist() == pytest.approx([2.8])
    quantizer.eval()
    quantizer(weight)
    assert quantizer.scale.tolist() == pytest.approx([2.8])


@pytest.mark.parametrize("levels", ["uniform", "log"])
def test_gradients_take_both_tails(levels):
    """g = (1, 10, 100, 1000): alpha gets s * sigma * (10 - 100), weights only within."""
    weight = row(1.0, 5.0, -5.0, 1.0).requires_grad_(True)  # sigma = sqrt(13)
    quantizer = quantizer_of(weight, 1.0, bits=3, levels=levels, gradient_scale=0.25)
    (quantizer(weight) * row(1.0, 10.0, 100.0, 1000.0)).sum().backward()
    assert weight.grad.flatten().tolist() == [1, 0, 0, 1000]
    assert quantizer.alpha.grad.item() == pytest.approx(0.25 * math.sqrt(13) * (10 - 100), rel=1e-5)


def test_a_weight_at_the_threshold_is_clipped():
    weight = row(3.0, -3.0, 3.0).requires_grad_(True)
    quantizer = quantizer_of(weight, 1.0, bits=2, gradient_scale=1.0)
    (quantizer(weight) * row(1.0, 10.0, 100.0)).sum().backward()
    assert weight.grad.flatten().tolist() == [0, 0, 0]
    assert quantizer.alpha.grad.item() == pytest.approx(3 * (1 - 10 + 100), rel=1e-5)


def test_the_papers_gradient_scales():
    assert [gradient_scale(bits) for bits in (5, 4, 3, 2, 8)] == [1, 1, 0.1, 0.01, 1]
    assert SigmaQuantizer((1, 1, 1, 1), bits=3).gradient_scale == 0.1
    assert SigmaQuantizer((1, 1, 1, 1), bits=3, gradient_scale=0.5).gradient_scale == 0.5


def test_alpha_starts_at_least_squared_error():
    torch.manual_seed(0)
    weight = torch.randn(4, 8, 3, 3)
    for options in ({"bits": 3}, {"bits": 3, "levels": "log"}):
        quantizer = SigmaQuantizer((4, 8, 3, 3), **options)
        quantizer.calibrate(weight)
        alpha = quantizer.alpha.item()

        def error(factor, quantizer=quantizer, alpha=alpha):
            quantizer.alpha.data.fill_(alpha * factor)
            quantizer.refresh(weight)
            return float(((quantizer(weight) - weight) ** 2).sum())

        assert all(error(1.0) <= error(factor) for factor in (0.8, 0.9, 0.97, 1.03, 1.1, 1.25))


def test_rescaling_keeps_the_step():
    """Eq. 11: alpha_b = alpha_(b+n) * L_b / L_(b+n)."""
    weight = row(*torch.linspace(-1, 1, 21).tolist())
    quantizer = quantizer_of(weight, 2.0, bits=2)
    quantizer.set_bits(4)
    assert quantizer.bits == 4 and quantizer.alpha.item() == pytest.approx(2 * 7)
    quantizer.alpha.data.fill_(2.1)
    quantizer(weight)
    scale = float(quantizer.scale)
    quantizer.set_bits(3)
    assert quantizer.alpha.item() == pytest.approx(0.9)
    quantizer(weight)
    assert float(quantizer.scale) == pytest.approx(scale)
    quantizer.set_bits(0)
    assert quantizer.bits == 2 and quantizer.alpha.item() == pytest.approx(0.3)
    assert quantizer(weight).unique().tolist() == pytest.approx([-scale, 0, scale])
    logs = quantizer_of(weight, 3.2, bits=2, levels="log")
    logs.set_bits(4)
    logs.alpha.data.fill_(3.2)
    for least, alpha in ((3, 0.2), (2, 0.05)):
        logs.set_bits(least)
        assert logs.alpha.item() == pytest.approx(alpha)
    eight = SigmaQuantizer((1, 1, 1, 1), bits=8)
    eight.set_bits(4)
    assert eight.bits == 8 and eight.alpha.item() == 3
    activation = SigmaActivation(bits=2, signed=False)
    activation.set_bits(4)
    activation.alpha.data.fill_(3.0)
    activation.set_bits(3)
    assert activation.alpha.item() == 3 and activation.bits == 3
    activation.set_bits(0)
    assert activation.bits == 2 and activation.alpha.item() == 3


def activation_of(**options):
    activation = SigmaActivation(signed=False, **options).train()
    activation.alpha.data.fill_(2.0)
    activation.alpha.requires_grad_(True)
    activation.sigma.fill_(3.0)
    return activation


def test_running_deviation():
    activation = activation_of(bits=2)
    x = torch.tensor([[-7.0, 0.0, 12.0, 5.0]])
    activation(x)
    sigma = 0.999 * 3 + 0.001 * 13 / math.sqrt(2)
    assert activation.sigma.item() == pytest.approx(sigma)
    assert activation.scale.item() == pytest.approx(2 * sigma / 3)
    activation.eval()
    activation(x)
    assert activation.sigma.item() == pytest.approx(sigma)


def test_gradients_of_activations():
    activation = activation_of(bits=2, gradient_scale=0.5)  # largest level near 6
    x = torch.tensor([[-7.0, 0.0, 12.0, 5.0, 1.0]], requires_grad=True)
    (activation(x) * torch.tensor([1.0, 10.0, 100.0, 1000.0, 10000.0])).sum().backward()
    assert x.grad.tolist() == [[0, 0, 0, 1000, 10000]]
    assert activation.alpha.grad.item() == pytest.approx(0.5 * float(activation.sigma) * 100)
    assert activation(x).tolist()[0] == pytest.approx(
        [0, 0, 3 * float(activation.scale), 2 * float(activation.scale), 0]
    )


def test_signed_activations_have_two_tails():
    activation = SigmaActivation(bits=3, signed=True).train()
    activation.alpha.data.fill_(1.0)
    activation.alpha.requires_grad_(True)
    activation.sigma.fill_(3.0)  # levels -4 to 3, near 1 each
    x = torch.tensor([[9.0, -9.0, 1.0]], requires_grad=True)
    (activation(x) * torch.tensor([1.0, 10.0, 100.0])).sum().backward()
    assert x.grad.tolist() == [[0, 0, 100]]
    assert activation.alpha.grad.item() == pytest.approx(float(activation.sigma) * (1 - 10))


def test_calibration_of_activations():
    torch.manual_seed(0)
    x = torch.randn(5000)
    activation = SigmaActivation(bits=4, signed=False)
    activation.calibrate(x)
    assert activation.sigma.item() == pytest.approx(float(x[x > 0].square().mean().sqrt()), rel=1e-5)
    assert (activation.alpha * activation.sigma).item() == pytest.approx(15 * float(activation.scale))
    activation.train()
    before = activation.scale.clone()
    activation(x)
    assert activation.scale.item() == pytest.approx(float(before), rel=1e-5)


def test_frozen_in_the_second_phase():
    weight = row(1.0, 5.0, -5.0, 1.0)
    quantizer = quantizer_of(weight, 1.0, bits=3)
    quantizer(weight)
    scale = quantizer.scale.clone()
    quantizer.finish()
    quantizer.alpha.data.fill_(9.0)
    quantizer(3 * weight)
    assert torch.equal(quantizer.scale, scale)
    activation = activation_of(bits=2)
    x = torch.tensor([[1.0, 50.0]])
    activation(x)
    sigma, scale = activation.sigma.clone(), activation.scale.clone()
    activation.finish()
    activation(x)
    assert torch.equal(activation.sigma, sigma) and torch.equal(activation.scale, scale)
    activation.begin()
    activation(x)
    assert not torch.equal(activation.sigma, sigma)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SigmaQuantizer((1, 1, 1, 1), bits=9), "Sigma weight must be 2 to 8 bits, not 9"),
        (lambda: SigmaQuantizer((1, 1, 1, 1), bits=6, levels="log"), "Sigma weight must be 2 to 5 bits, not 6"),
        (
            lambda: SigmaQuantizer((1, 1, 1, 1), bits=3, levels="cubic"),
            "Levels must be one of ('uniform', 'log'), not 'cubic'",
        ),
        (lambda: SigmaQuantizer((1, 1, 1, 1), bits=3, gradient_scale=-1), "Gradient scale must be at least 0, not -1"),
        (lambda: SigmaActivation(bits=3, signed=False, gradient_scale=-1), "Gradient scale must be at least 0, not -1"),
    ],
)
def test_errors(make, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        make()


def test_without_rescaling_the_clipping_level_stays():
    weight = row(*torch.linspace(-1, 1, 21).tolist())
    quantizer = quantizer_of(weight, 2.0, bits=3, rescale=False)
    quantizer.set_bits(4)
    assert quantizer.bits == 4 and quantizer.alpha.item() == 2
    quantizer.set_bits(0)
    assert quantizer.bits == 3 and quantizer.alpha.item() == 2
