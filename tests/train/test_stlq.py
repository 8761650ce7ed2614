"""Selective two-word log quantization against the paper's worked example and hand-written levels."""

import re

import pytest
import torch

from twofold.golden import catalog
from twofold.train.quantizers import STLQuantizer
from twofold.train.quantizers.units import UnitGrid, auxiliary, select

# [STLQ], figure 4, R = 30 %.
EXAMPLE = [[0.85, 0.30, 0.53], [0.80, 0.37, 0.29], [0.40, 0.15, 0.70]]
FIRST = [[1, 0.25, 0.5], [1, 0.25, 0.25], [0.5, 0.25, 0.5]]
RESIDUAL = [[-0.15, 0.05, 0.03], [-0.20, 0.12, 0.04], [-0.10, -0.10, 0.20]]
CHOSEN = [[1, 0, 0], [1, 0, 0], [0, 0, 1]]
AUXILIARY = [[0, 0.93, 0.91], [0, 1.00, 0.92], [0.98, 0.98, 0]]


def example():
    return torch.tensor(EXAMPLE).reshape(3, 3, 1, 1)


def test_the_papers_worked_example():
    quantizer = STLQuantizer((3, 3, 1, 1), bits=3, ratio=0.3, unit="element")
    quantizer.scale.data.fill_(0.25)  # levels 1, 0.5, 0.25
    quantizer.choose(example())
    first, residual, _ = quantizer.words(example() / 0.25)
    assert (first * 0.25).flatten().tolist() == torch.tensor(FIRST).flatten().tolist()
    assert torch.allclose((residual * 0.25).reshape(3, 3), torch.tensor(RESIDUAL), atol=1e-6)
    assert quantizer.chosen.reshape(3, 3).tolist() == CHOSEN
    assert torch.allclose(quantizer.v.reshape(3, 3), torch.tensor(AUXILIARY), atol=0.005)


def test_the_papers_printed_equation():
    # methods: LogQuant with N = 3, U = 1 on the same weights; levels 1/2, 1/4, 1/8, negative 1/16 too.
    quantizer = STLQuantizer((3, 3, 1, 1), bits=3, asymmetric=True, rounding="log")
    words = quantizer.integers(example() * 16) / 16
    assert words.reshape(3, 3).tolist() == [[0.5, 0.25, 0.5], [0.5, 0.5, 0.25], [0.5, 0.125, 0.5]]
    small = torch.tensor([1e-6, -1e-6, 0.0, -0.9, 0.9]) * 16
    assert (quantizer.integers(small) / 16).tolist() == [0.125, -0.0625, 0.0, -0.5, 0.5]


@pytest.mark.parametrize(
    ("options", "numbers", "levels"),
    [
        ({}, [0.4, 0.6, 1.4, 1.6, 2.9, 3.1, 99, -0.4, -1.6, -99], [0, 1, 1, 2, 2, 4, 4, 0, -2, -4]),
        ({"rounding": "log"}, [0.70, 0.72, 1.41, 1.42, 2.82, 2.84, 99, 0, -0.7], [0, 1, 1, 2, 2, 4, 4, 0, 0]),
        ({"asymmetric": True}, [0.9, 1.1, 2.9, 3.1, 99, -0.4, -0.6, -1.6, -99], [0, 2, 2, 4, 8, 0, -1, -2, -8]),
    ],
    ids=["linear", "log", "asymmetric"],
)
def test_rounding(options, numbers, levels):
    quantizer = STLQuantizer((1, 1, 1, 1), bits=3, **options)
    assert quantizer.integers(torch.tensor(numbers)).tolist() == levels


def test_selection_counts_and_ties():
    assert select(torch.tensor([1.0, 3.0, 3.0, 2.0, 3.0]), 0.5).tolist() == [False, True, True, False, True]
    assert select(torch.tensor([1.0, 1.0, 1.0, 1.0, 1.0]), 0.3).tolist() == [True, True, False, False, False]
    many = select(torch.ones(5000), 0.3)
    assert many[:1500].all() and not many[1500:].any()
    assert not select(torch.ones(10), 0.04).any() and select(torch.ones(10), 0.05).sum() == 1
    assert auxiliary(torch.ones(2), torch.tensor([True, True])).tolist() == [0, 0]


def test_ragged_tiles_are_normalised_by_their_elements():
    grid = UnitGrid((3, 5, 1, 2), "tile", (2, 4))
    assert grid.grid == (2, 2, 1, 2)
    assert grid.counts.flatten().tolist() == [8, 8, 2, 2, 4, 4, 1, 1]
    assert grid.spread(torch.arange(8).reshape(grid.grid))[2, 4].flatten().tolist() == [6, 7]
    # Residuals 0.2 everywhere but 0.4 in the tile of one element: the largest mean, not the largest sum.
    weight = torch.full((3, 5, 1, 1), 1.2)
    weight[2, 4] = 1.4
    quantizer = STLQuantizer((3, 5, 1, 1), bits=3, ratio=0.25, tile=(2, 4))
    quantizer.choose(weight)
    assert quantizer.chosen.flatten().tolist() == [0, 0, 0, 1]


def test_scores_by_the_norm_prefer_large_tiles():
    weight = torch.zeros(3, 2, 1, 1)
    weight[:2] = 0.30  # a tile of four
    weight[2] = 0.36  # a ragged one of two: worse by weight, better in all
    rms, norm = (STLQuantizer((3, 2, 1, 1), bits=3, ratio=0.5, tile=(2, 2), score=score) for score in ("rms", "l2"))
    for quantizer in (rms, norm):
        quantizer.scale.data.fill_(0.25)
        quantizer.choose(weight)
    # Residuals 0.05 and 0.11; the norms are 0.10 and 0.1556, so make the large tile's greater.
    assert rms.chosen.flatten().tolist() == [0, 1] == norm.chosen.flatten().tolist()
    weight[:2] = 0.34
    for quantizer in (rms, norm):
        quantizer.choose(weight)
    # 0.09 and 0.11; norms 0.18 and 0.1556.
    assert rms.chosen.flatten().tolist() == [0, 1]
    assert norm.chosen.flatten().tolist() == [1, 0]


def test_without_auxiliary_values_selection_is_all():
    quantizer = STLQuantizer((3, 3, 1, 1), bits=3, ratio=0.3, unit="element", auxiliary=False)
    quantizer.scale.data.fill_(0.25)
    quantizer.choose(example())
    assert quantizer.chosen.reshape(3, 3).tolist() == CHOSEN
    assert not quantizer.v.any() and not quantizer.with_aid


def test_a_threshold_chooses_in_units_of_the_weights():
    quantizer = STLQuantizer((3, 3, 1, 1), bits=3, unit="element", threshold=0.125)
    quantizer.scale.data.fill_(0.25)
    quantizer.choose(example())
    assert quantizer.chosen.reshape(3, 3).tolist() == CHOSEN  # residuals 0.15, 0.20 and 0.20
    with pytest.raises(ValueError, match=r"Threshold must be above 0 and without a ratio, not 0\.1 with 0\.5"):
        STLQuantizer((1, 1, 1, 1), bits=3, ratio=0.5, threshold=0.1)
    with pytest.raises(ValueError, match=r"Score must be one of \('rms', 'l2'\), not 'sum'"):
        STLQuantizer((1, 1, 1, 1), bits=3, score="sum")


@pytest.mark.parametrize("literal", [False, True])
def test_gradients_are_straight_through(literal):
    torch.manual_seed(0)
    weight = torch.randn(4, 4, 3, 3, requires_grad=True)
    quantizer = STLQuantizer((4, 4, 3, 3), bits=3, ratio=0.25, tile=(2, 2), literal=literal)
    quantizer.calibrate(weight.detach())
    upstream = torch.randn(4, 4, 3, 3)
    (quantizer(weight) * upstream).sum().backward()
    assert torch.equal(weight.grad, upstream)
    scale = quantizer.scale.view(-1, 1, 1, 1)
    _, residual, second = quantizer.words(weight.detach() / scale)
    expected = quantizer.units.total(upstream * (residual if literal else second) * scale)
    assert torch.allclose(quantizer.v.grad, expected, atol=1e-5)


def test_forward_is_first_word_and_share_of_second():
    torch.manual_seed(0)
    weight = torch.randn(4, 4, 1, 1)
    quantizer = STLQuantizer((4, 4, 1, 1), bits=3, ratio=0.5, unit="element")
    quantizer.calibrate(weight)
    quantizer.v.data.mul_(0.5)
    scale = quantizer.scale.view(-1, 1, 1, 1)
    first, _, second = quantizer.words(weight / scale)
    share = torch.where(quantizer.chosen != 0, torch.ones(()), quantizer.v)
    assert torch.allclose(quantizer(weight), (first + share * second) * scale, atol=1e-6)


def test_auxiliary_values_die_and_stay_dead():
    torch.manual_seed(0)
    quantizer = STLQuantizer((4, 4, 1, 1), bits=3, ratio=0.25, unit="element")
    quantizer.calibrate(torch.randn(4, 4, 1, 1))
    assert (quantizer.v > 0).sum() == 12
    free = int((quantizer.chosen == 0).flatten().nonzero()[0])
    quantizer.v.data.view(-1)[free] = 0.0009
    quantizer.after_step()
    quantizer.v.data.add_(0.5)
    quantizer.after_step()
    assert quantizer.v.flatten()[free] == 0 and quantizer.v.max() <= 1
    assert (quantizer.v[quantizer.chosen != 0] == 0).all()
    assert quantizer.penalty() == (quantizer.v**2).sum()
    quantizer.finish()
    assert not quantizer.v.any() and not quantizer.with_aid


@pytest.mark.parametrize("asymmetric", [False, True])
@pytest.mark.parametrize("ratio", [0.0, 0.3])
def test_codes_are_the_forward(ratio, asymmetric):
    torch.manual_seed(0)
    weight = torch.randn(5, 6, 3, 3)
    quantizer = STLQuantizer((5, 6, 3, 3), bits=3, ratio=ratio, tile=(2, 4), asymmetric=asymmetric)
    quantizer.calibrate(weight)
    quantizer.finish()
    coded = quantizer.encode(weight, quantizer.fmt)
    values = torch.tensor(coded.points.values)[torch.as_tensor(coded.codes.astype(int))]
    integers = sum(word << shift for word, shift in zip(values, coded.shifts, strict=True))
    assert torch.allclose(integers * torch.tensor(coded.scale).view(-1, 1, 1, 1), quantizer(weight).double(), rtol=1e-6)
    assert len(coded.codes) == (2 if ratio else 1)


def test_training_aids_must_be_gone_at_export():
    quantizer = STLQuantizer((4, 4, 1, 1), bits=3, ratio=0.25)
    quantizer.v.data.fill_(0.5)
    quantizer.live.fill_(1)
    message = "Auxiliary values must be 0 at export: call finish() first, not before training ends"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        quantizer.encode(torch.randn(4, 4, 1, 1), catalog.log_format(3))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rounding": "up"}, "Rounding must be one of ('linear', 'log'), not 'up'"),
        ({"granularity": "net"}, "Granularity must be one of ('channel', 'layer'), not 'net'"),
        ({"unit": "row"}, "Unit must be one of ('element', 'filter', 'tile'), not 'row'"),
        ({"tile": (8, 0)}, "Tile must be two numbers, each at least 1, not (8, 0)"),
        ({"bits": 7}, "Log word must be 2 to 5 bits, not 7"),
    ],
)
def test_errors(options, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        STLQuantizer((4, 4, 1, 1), **({"bits": 3} | options))


def test_ratio_out_of_range():
    with pytest.raises(ValueError, match=r"^Two-word ratio must be 0 to 1, not 1\.5$"):
        STLQuantizer((4, 4, 1, 1), bits=3, ratio=1.5).calibrate(torch.randn(4, 4, 1, 1))
