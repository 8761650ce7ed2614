"""Scales of least squared error: against every choice of levels for a few weights, and against many scales."""

from itertools import product

import pytest
import torch

from twofold.train.quantizers import build_quantizer, least_squares
from twofold.train.quantizers.base import LEAST_SCALE
from twofold.train.quantizers.least_squares import l2_scales

NEAREST = {
    "uniform": {"bits": 3},
    "stlq": {"bits": 3, "asymmetric": True},
    "apot": {"bits": 3},
    "sawb": {"bits": 2},
}
LOG = {"sigma": {"bits": 3, "levels": "log"}, "stlq": {"bits": 3, "asymmetric": True, "rounding": "log"}}


def drawn(count, *shape):
    """Weights with a far outlier in some rows."""
    weight = torch.randn(count, *shape, generator=torch.Generator().manual_seed(7))
    weight.flatten(1)[::3, 0] = 20
    return weight


def errors(quantizer, row, scales):
    """Squared error of a row at each scale."""
    row, scales = row.double(), scales.double()[:, None]
    return ((row - scales * quantizer.integers(row / scales)) ** 2).sum(1)


@pytest.mark.parametrize("name", NEAREST)
def test_no_choice_of_levels_has_a_smaller_error(name):
    """Where each weight goes to its nearest level, the least error is that of the best choice with its best scale."""
    weight = drawn(9, 4)
    quantizer = build_quantizer(name, (9, 4, 1, 1), **NEAREST[name])
    levels = quantizer.integers(torch.arange(-20, 20, 0.25)).unique()
    choices = torch.tensor(list(product(levels.tolist(), repeat=4)), dtype=torch.float64)
    choices = choices[choices.any(1)]
    found = l2_scales(weight, quantizer.integers, quantizer.top)
    for row, scale in zip(weight.double(), found, strict=True):
        gained = (choices @ row).clamp(min=0) ** 2 / (choices**2).sum(1)
        least = float(row @ row - gained.max())
        assert float(errors(quantizer, row, scale[None])) == pytest.approx(least, rel=1e-5, abs=1e-9)


@pytest.mark.parametrize("name", LOG)
def test_no_scale_has_a_smaller_error(name):
    """Levels in the logarithm: the error jumps where a weight changes its level."""
    weight = drawn(9, 4)
    quantizer = build_quantizer(name, (9, 4, 1, 1), **LOG[name])
    found = l2_scales(weight, quantizer.integers, quantizer.top)
    for row, scale in zip(weight, found, strict=True):
        many = torch.logspace(-3, 3, 10001, dtype=torch.float64)
        assert float(errors(quantizer, row, scale[None])) <= float(errors(quantizer, row, many).min()) * (1 + 1e-5)


@pytest.mark.parametrize(("name", "options"), [("uniform", {"bits": 8}), ("apot", {"bits": 4}), *LOG.items()])
def test_bounds_find_what_looking_at_every_interval_finds(name, options, monkeypatch):
    """One scale for a layer, and one a channel."""
    weight = drawn(3, 10, 3, 1)
    quantizer = build_quantizer(name, tuple(weight.shape), **options)
    for by_channel in (True, False):
        found = []
        for many in (0, 1 << 30):
            monkeypatch.setattr(least_squares, "MANY", many)
            found.append(l2_scales(weight, quantizer.integers, quantizer.top, by_channel=by_channel))
        assert torch.allclose(*found, rtol=2e-6)


def test_channels_of_zeros_do_not_move_the_others():
    """They have the smallest scale that is usable; nothing but zeros has 1."""
    weight = drawn(3, 8) * 1e-4
    weight[1] = 0
    quantizer = build_quantizer("uniform", (3, 8, 1, 1), bits=4)
    scales = l2_scales(weight, quantizer.integers, quantizer.top)
    assert float(scales[1]) == float(scales.max()) * LEAST_SCALE
    assert torch.equal(scales[[0, 2]], l2_scales(weight[[0, 2]], quantizer.integers, quantizer.top))
    assert l2_scales(weight * 0, quantizer.integers, quantizer.top).tolist() == [1, 1, 1]
