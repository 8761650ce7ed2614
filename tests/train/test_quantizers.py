"""Subset, uniform and activation quantizers."""

import re
from itertools import combinations

import numpy as np
import pytest
import torch

from twofold.golden import catalog
from twofold.golden.formats import WeightFormat
from twofold.train.quantizers import QUANTIZERS, ActivationQuantizer, SubsetQuantizer, UniformQuantizer, build_quantizer
from twofold.train.quantizers.base import LEAST_SCALE
from twofold.train.quantizers.search import search_points

SMALL = WeightFormat(menus=((2, 1, None), (0, None)), index_bits=1)  # universal set 0, 1, 2, 3, 4, 5; two points


def brute_force(rows, fmt):
    """Least error over subsets and a fine grid of scales, by the definition."""
    best = np.inf
    for subset in combinations(fmt.universal_set, fmt.point_count):
        points, total = np.array(subset, dtype=float), 0.0
        for row in rows:
            scales = np.abs(row).max() / points[-1] * np.geomspace(0.1, 8, 4000)
            gaps = np.abs(np.abs(row)[None, :, None] - scales[:, None, None] * points).min(axis=2)
            total += (gaps**2).sum(axis=1).min()
        best = min(best, total)
    return best


@pytest.mark.parametrize("by_channel", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_search_finds_what_brute_force_finds(seed, by_channel):
    weights = np.random.default_rng(seed).laplace(size=(3, 40))
    found = search_points(weights, SMALL, by_channel=by_channel)
    rows = weights if by_channel else weights.reshape(1, -1)
    assert found.error <= brute_force(rows, SMALL) * (1 + 1e-9)
    points = np.array(found.levels)
    error = sum(
        (np.abs(np.abs(row)[:, None] - scale * points).min(axis=1) ** 2).sum()
        for row, scale in zip(rows, found.scales, strict=True)
    )
    assert found.error == pytest.approx(error, rel=1e-9)


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_search_recovers_points_that_fit_exactly(bits):
    fmt = catalog.subset_format(bits)
    levels = {2: (4, 9), 3: (1, 6, 17, 32), 4: (1, 3, 6, 8, 12, 17, 24, 32)}[bits]
    weights = np.array([levels, levels], dtype=float) * [[0.5], [-0.3]]
    found = search_points(weights, fmt)
    assert found.levels == levels and found.error < 1e-12
    assert found.scales == pytest.approx([0.5, 0.3])


def test_subset_rounds_magnitudes():
    quantizer = SubsetQuantizer((1, 1, 1, 1), bits=3)
    quantizer.levels.copy_(torch.tensor([2, 6, 17, 32]))
    numbers = torch.tensor([0.0, -0.1, 3.9, 4.1, 11.4, 11.6, -24.4, -24.6, 99])
    assert quantizer.integers(numbers).tolist() == [2, -2, 2, 6, 6, 17, -17, -32, 32]


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_subset_codes_are_the_forward(bits):
    torch.manual_seed(0)
    weight = torch.randn(5, 4, 3, 3)
    weight[3] = 0
    quantizer = SubsetQuantizer((5, 4, 3, 3), bits=bits)
    quantizer.calibrate(weight)
    coded = quantizer.encode(weight, quantizer.fmt)
    values = np.array(coded.points.values)[coded.codes[0]] * coded.scale.reshape(-1, 1, 1, 1)
    assert torch.allclose(torch.tensor(values), quantizer(weight).double(), rtol=1e-6)
    assert (coded.scale > 0).all()


@pytest.mark.parametrize("bits", [2, 3, 4, 5, 6, 7, 8])
@pytest.mark.parametrize(
    "fmt",
    [catalog.log_format(3), catalog.log_format(3, asymmetric=True), catalog.subset_format(4), catalog.subset_format(3)],
    ids=["log", "asymmetric", "subset4", "subset3"],
)
def test_uniform_weights_are_sums_of_digits(fmt, bits):
    top = 2 ** (bits - 1) - 1
    weight = torch.arange(-top, top + 1, dtype=torch.float32).reshape(1, -1, 1, 1)
    quantizer = UniformQuantizer(tuple(weight.shape), bits=bits)
    coded = quantizer.encode(weight, fmt)
    values = np.array(coded.points.values)[coded.codes]
    shifts = np.array(coded.shifts).reshape(-1, 1, 1, 1, 1)
    assert ((values << shifts).sum(axis=0) * coded.scale[0]).flatten().tolist() == weight.flatten().tolist()


def test_uniform_words_for_eight_bits():
    weight = torch.tensor([127.0, -127.0]).reshape(1, 2, 1, 1)
    quantizer = UniformQuantizer((1, 2, 1, 1), bits=8)
    assert len(quantizer.encode(weight, catalog.log_format(3)).codes) == 4
    assert len(quantizer.encode(weight, catalog.subset_format(4)).codes) == 3
    assert quantizer.integers(torch.tensor([0.5, 1.5, -2.5, 200.0, -200.0])).tolist() == [0, 2, -2, 127, -127]


def test_scales_are_least_squares():
    torch.manual_seed(0)
    weight = torch.randn(2, 8, 3, 3)
    quantizer = UniformQuantizer((2, 8, 3, 3), bits=3)
    quantizer.calibrate(weight)

    def error(factor):
        scale = (quantizer.scale * factor).view(-1, 1, 1, 1)
        return ((quantizer.integers(weight / scale) * scale - weight) ** 2).sum()

    assert all(error(1.0) <= error(factor) for factor in (0.8, 0.9, 0.97, 1.03, 1.1, 1.25))


def test_scale_gradient_is_that_of_lsq():
    weight = torch.tensor([0.26, -0.6, 9.0]).reshape(1, 3, 1, 1)
    quantizer = UniformQuantizer((1, 3, 1, 1), bits=3)
    quantizer.scale.data.fill_(0.5)
    quantizer.scale.requires_grad_(True)
    quantizer(weight).sum().backward()
    # round(x) - x inside, the level itself where clipped; times 1 / sqrt(weights * levels).
    expected = ((1 - 0.52) + (-1 + 1.2) + 3) / np.sqrt(3 * 3)
    assert quantizer.scale.grad.item() == pytest.approx(expected, rel=1e-5)


def test_activations_round_half_to_even_and_clip():
    unsigned = ActivationQuantizer(bits=4, signed=False, scale=1.0)
    assert unsigned(torch.tensor([0.5, 1.5, 2.5, 15.4, 99.0, -3.0])).tolist() == [0, 2, 2, 15, 15, 0]
    signed = ActivationQuantizer(bits=3, signed=True, scale=0.5)
    assert signed(torch.tensor([-9.0, -0.25, 0.75, 9.0])).tolist() == [-2.0, 0.0, 1.0, 1.5]
    capped = ActivationQuantizer(bits=8, signed=False, limit=6.0, scale=0.05)
    assert capped.high == 120 and capped(torch.tensor([7.0])).item() == pytest.approx(6.0)


def test_a_scale_that_is_trained_is_read_without_a_warning():
    capped = ActivationQuantizer(bits=8, signed=False, limit=6.0, scale=0.05)
    capped.scale.requires_grad_(True)
    torch.set_warn_always(True)  # others of the process may have had it
    try:
        assert capped.high == 120
    finally:
        torch.set_warn_always(False)


def test_activation_calibration():
    torch.manual_seed(0)
    x = torch.relu(torch.randn(20000))
    x[0] = 50.0
    by_error, by_range = (ActivationQuantizer(bits=4, signed=False, calibration=kind) for kind in ("mse", "max"))
    by_error.calibrate(x)
    by_range.calibrate(x)
    assert by_range.scale.item() == pytest.approx(50 / 15, rel=1e-6)
    assert ((by_error(x) - x) ** 2).sum() < ((by_range(x) - x) ** 2).sum()
    symmetric = ActivationQuantizer(bits=8, signed=True, calibration="max")
    symmetric.calibrate(torch.tensor([-10.0, 1.0]))
    assert symmetric(torch.tensor([-10.0])).item() == pytest.approx(-10.0)


def test_activation_gradients():
    quantizer = ActivationQuantizer(bits=2, signed=False, scale=1.0)
    quantizer.scale.requires_grad_(True)
    x = torch.tensor([[0.4, 1.7, 5.0, -1.0]], requires_grad=True)
    quantizer(x).sum().backward()
    assert x.grad.tolist() == [[1, 1, 0, 0]]
    assert quantizer.scale.grad.item() == pytest.approx((-0.4 + 0.3 + 3 + 0) / np.sqrt(4 * 3), rel=1e-5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: build_quantizer("none", (1, 1, 1, 1)), f"Quantizer must be one of {tuple(QUANTIZERS)}, not 'none'"),
        (lambda: UniformQuantizer((1, 1, 1, 1), bits=9), "Uniform weight must be 2 to 8 bits, not 9"),
        (lambda: UniformQuantizer((1, 1), bits=8), "Weights must be (M, N, Kh, Kw), not (1, 1)"),
        (lambda: SubsetQuantizer((1, 1, 1, 1), bits=5), "Subset word must be 2 to 4 bits, not 5"),
        (
            lambda: SubsetQuantizer((1, 1, 1, 1), bits=4, universal_set=6),
            "Universal set must be one of (1, 2, 3, 4, 5), not 6",
        ),
        (lambda: ActivationQuantizer(bits=9, signed=False), "Activation bits must be 2 to 8, not 9"),
        (
            lambda: ActivationQuantizer(bits=8, signed=False, calibration="kl"),
            "Calibration must be one of ('mse', 'max'), not 'kl'",
        ),
    ],
)
def test_errors(make, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        make()


@pytest.mark.parametrize("name", ["stlq", "uniform", "lsq"])
def test_a_trained_scale_stays_positive(name):
    # Adam moves every scale by its learning rate, however small the scale: that of a dead channel passes zero at once.
    weight = torch.cat([torch.randn(3, 4, 3, 3), torch.full((1, 4, 3, 3), 1e-6)])
    quantizer = build_quantizer(name, tuple(weight.shape), bits=3)
    quantizer.calibrate(weight)
    quantizer.scale.requires_grad_(True)
    optimizer = torch.optim.Adam([quantizer.scale], lr=0.3)
    for _ in range(3):
        quantizer.train()(weight).sum().backward()
        optimizer.step()
        quantizer.after_step()
        assert float(quantizer.scale.detach().min()) > 0
    if name != "lsq":
        assert float(quantizer.scale.detach().min()) >= float(quantizer.scale.detach().max()) * LEAST_SCALE
