"""APoT, LSQ, min-max, SAWB, BWN, TWN, PACT, DeepShift and plain rounding, by hand."""

import math
import re

import pytest
import torch

from twofold.train.quantizers import (
    APoTQuantizer,
    BinaryQuantizer,
    DeepShiftQuantizer,
    LSQuantizer,
    MinMaxActivation,
    MinMaxQuantizer,
    PactActivation,
    SAWBQuantizer,
    TernaryQuantizer,
    UniformQuantizer,
)
from twofold.train.quantizers.apot import apot_levels


def row(*values):
    return torch.tensor(values).reshape(1, -1, 1, 1)


def values(tensor):
    return tensor.detach().flatten().tolist()


# APoT: levels of the authors' code


def test_apot_levels():
    assert apot_levels(2) == (0, 1)
    assert apot_levels(3) == (0, 1, 2, 4)
    assert apot_levels(4) == (0, 1, 2, 3, 4, 6, 8, 10)
    assert apot_levels(5) == (0, 1, 2, 3, 4, 6, 8, 9, 12, 16, 18, 24, 32, 33, 36, 48)
    assert len(apot_levels(6)) == 32 and apot_levels(6)[-1] == 100


@pytest.mark.parametrize("clips", [False, True])
def test_apot_clipping_function(clips):
    """alpha = 2: levels 0, 1/2, 1, 2. dalpha is the sign beyond 2, and Proj(w / 2) - w / 2 within."""
    weight = row(0.6, -3.0, 1.4, 5.0).requires_grad_(True)
    quantizer = APoTQuantizer((1, 4, 1, 1), bits=3, normalise="none", alpha=2.0, clips=clips).train()
    quantizer.calibrate(weight.detach())
    quantizer.alpha.requires_grad_(True)
    assert values(quantizer(weight)) == [0.5, -2, 1, 2]
    (quantizer(weight) * row(1.0, 10.0, 100.0, 1000.0)).sum().backward()
    assert values(weight.grad) == ([1, 0, 100, 0] if clips else [1, 10, 100, 1000])
    slope = (0.25 - 0.3) * 1 - 10 + (0.5 - 0.7) * 100 + 1000
    assert quantizer.alpha.grad.item() == pytest.approx(slope, rel=1e-5)


def test_apot_normalisation():
    weight = row(1.0, 2.0, 6.0)  # mean 3, unbiased variance 7
    plain = APoTQuantizer((1, 3, 1, 1), bits=3, alpha=2.0)
    plain.calibrate(weight)
    assert plain.scale.item() == pytest.approx(2 * math.sqrt(7) / 4)
    full = APoTQuantizer((1, 3, 1, 1), bits=3, alpha=2.0, normalise="full")
    full.calibrate(weight)
    assert values(full.prepare(weight)) == [-2, -1, 3]
    step = math.sqrt(7) / 2
    assert values(full(weight)) == pytest.approx([-2 * step, -step, 2 * step])
    free = APoTQuantizer((1, 3, 1, 1), bits=4)
    torch.manual_seed(0)
    normal = torch.randn(1, 3, 30, 30)
    free.calibrate(normal)
    assert 2 < free.alpha.item() < 3.5


# LSQ


def test_lsq_start_and_levels():
    quantizer = LSQuantizer((1, 4, 1, 1), bits=3)
    assert quantizer.integers(torch.tensor([-9.0, -3.6, 2.4, 9.0])).tolist() == [-4, -4, 2, 3]
    quantizer.calibrate(row(1.0, -2.0, 3.0, 6.0))
    assert quantizer.scale.item() == pytest.approx(2 * 3 / math.sqrt(3))
    channels = LSQuantizer((2, 1, 1, 1), bits=2, granularity="channel")
    channels.calibrate(torch.tensor([1.0, -3.0]).view(2, 1, 1, 1))
    assert values(channels.scale) == [2, 6]


@pytest.mark.parametrize("granularity", ["layer", "channel"])
def test_lsq_gradient(granularity):
    """Round(x) - x within, the level where clipped, times 1 / sqrt(weights * top)."""
    weight = torch.tensor([[0.3, -0.9], [9.0, -9.0]]).reshape(2, 2, 1, 1).requires_grad_(True)
    quantizer = LSQuantizer((2, 2, 1, 1), bits=3, granularity=granularity).train()
    quantizer.scale.data.fill_(0.5)
    quantizer.scale.requires_grad_(True)
    out = quantizer(weight)
    assert values(out) == [0.5, -1, 1.5, -2]
    (out * torch.tensor([[1.0, 10.0], [100.0, 1000.0]]).reshape(2, 2, 1, 1)).sum().backward()
    assert values(weight.grad) == [1, 10, 0, 0]
    first, second = 1 * (1 - 0.6) + 10 * (-2 + 1.8), 100 * 3 + 1000 * -4
    if granularity == "layer":
        assert values(quantizer.scale.grad) == pytest.approx([(first + second) / math.sqrt(4 * 3), 0], rel=1e-5)
        quantizer.scale.data.copy_(torch.tensor([0.7, 0.5]))
        quantizer.after_step()
        assert values(quantizer.scale) == pytest.approx([0.7, 0.7])
    else:
        expected = [first / math.sqrt(2 * 3), second / math.sqrt(2 * 3)]
        assert values(quantizer.scale.grad) == pytest.approx(expected, rel=1e-5)


# Min-max and SAWB


def test_minmax_has_levels_from_end_to_end():
    """Range -1 to 2 with 2 bits: -1, 0, 1, 2. Another offset is rounded to quarters of a step."""
    quantizer = MinMaxQuantizer((1, 6, 1, 1), bits=2)
    weight = row(-1.0, -0.4, -0.6, 0.6, 1.4, 2.0)
    quantizer.calibrate(weight)
    assert values(quantizer(weight)) == [-1, 0, -1, 1, 1, 2]
    assert (quantizer.scale.item(), quantizer.offset.item()) == (0.25, -4)
    shifted = MinMaxQuantizer((1, 2, 1, 1), bits=2)
    shifted.calibrate(row(-1.0, 2.3))  # step 1.1, least level -0.909 steps, rounded to -1 (four quarters)
    assert shifted.offset.item() == -4 and shifted.scale.item() == pytest.approx(1.1 / 4)
    fine = MinMaxQuantizer((1, 2, 1, 1), bits=2, offset_bits=4)
    fine.calibrate(row(-1.0, 2.3))
    assert fine.offset.item() == -15  # 14.5 sixteenths, and 14.545 is nearer to 15


def test_minmax_is_off_by_the_rounded_offset_at_most():
    torch.manual_seed(0)
    for bits in (1, 2, 4, 8):
        for offset_bits in (0, 2, 5):
            weight = torch.randn(4, 5, 3, 3)
            quantizer = MinMaxQuantizer((4, 5, 3, 3), bits=bits, offset_bits=offset_bits)
            quantizer.calibrate(weight)
            step = float(weight.max() - weight.min()) / (2**bits - 1)
            found = quantizer(weight).unique()
            assert len(found) <= 2**bits
            assert (found.diff() / step).round().tolist() == pytest.approx((found.diff() / step).tolist(), abs=1e-4)
            worst = float((quantizer(weight) - weight).abs().max()) / step
            assert worst <= 0.5 + 2.0 ** -(offset_bits + 1) + 1e-4


def test_minmax_follows_the_weights_in_training():
    quantizer = MinMaxQuantizer((1, 2, 1, 1), bits=1).train()
    assert values(quantizer(row(-1.0, 3.0))) == [-1, 3]
    assert values(quantizer(row(-2.0, 6.0))) == [-2, 6]
    quantizer.finish()
    assert values(quantizer(row(-9.0, 9.0))) == [-2, 6]
    assert values(MinMaxQuantizer((1, 2, 1, 1), bits=2).train()(row(0.5, 0.5))) == [0.5, 0.5]


def test_sawb_levels_and_optimum():
    quantizer = SAWBQuantizer((1, 1, 1, 1), bits=2)
    assert quantizer.integers(torch.tensor([-9.0, -1.9, -0.1, 0.1, 2.1, 9.0])).tolist() == [-3, -1, -1, 1, 3, 3]
    torch.manual_seed(0)
    weight = torch.randn(8, 8, 3, 3)
    for bits in (2, 3, 4):
        quantizer = SAWBQuantizer((8, 8, 3, 3), bits=bits)
        quantizer.calibrate(weight)

        def error(alpha, quantizer=quantizer, bits=bits):
            step = 2 * alpha / (2**bits - 1)
            levels = -alpha + torch.arange(2**bits) * step
            return float(((weight.flatten()[:, None] - levels).abs().amin(1) ** 2).sum())

        best = min(error(alpha) for alpha in torch.linspace(0.3, 4, 800))
        assert error(quantizer.alpha) <= best * (1 + 1e-3)
    # For a normal distribution the optimum of four even levels is 1.494 (Max, 1960: step 0.9957).
    two = SAWBQuantizer((64, 64, 3, 3), bits=2)
    two.calibrate(torch.randn(64, 64, 3, 3))
    assert two.alpha == pytest.approx(1.4935, abs=0.01)


def test_sawb_steps_towards_the_optimum_in_training():
    torch.manual_seed(0)
    weight = torch.randn(8, 8, 3, 3)
    best = SAWBQuantizer((8, 8, 3, 3), bits=2)
    best.calibrate(weight)
    quantizer = SAWBQuantizer((8, 8, 3, 3), bits=2).train()
    quantizer.scale.data.fill_(best.scale[0].item() * 1.5)
    q = quantizer.integers(weight / quantizer.scale[0])
    quantizer(weight)
    assert quantizer.scale[0].item() == pytest.approx(float((weight * q).sum() / (q * q).sum()))
    for _ in range(40):
        quantizer(weight)
    assert quantizer.alpha == pytest.approx(best.alpha, rel=1e-3)


# Binary and ternary


def test_binary():
    weight = torch.tensor([[1.0, -3.0], [0.0, 0.4]]).reshape(2, 2, 1, 1)
    quantizer = BinaryQuantizer((2, 2, 1, 1)).train()
    assert values(quantizer(weight)) == pytest.approx([1.1, -1.1, 1.1, 1.1])
    channels = BinaryQuantizer((2, 2, 1, 1), granularity="channel").train()
    assert values(channels(weight)) == pytest.approx([2, -2, 0.2, 0.2])


def test_ternary():
    # Mean 2, delta 1.4: beta = (2 + 5) / 2. 1.4 itself is 0.
    weight = row(1.0, -2.0, 5.0, 0.6, -1.4)
    quantizer = TernaryQuantizer((1, 5, 1, 1)).train()
    assert values(quantizer(weight)) == [0, -3.5, 3.5, 0, 0]
    assert (quantizer.threshold * quantizer.scale).item() == pytest.approx(1.4)
    quantizer.eval()
    quantizer.rescale(torch.tensor([1.1]))
    assert values(quantizer(1.1 * weight)) == pytest.approx([0, -3.85, 3.85, 0, 0])
    channels = TernaryQuantizer((2, 2, 1, 1), granularity="channel")
    channels.calibrate(torch.tensor([[4.0, -1.0], [0.0, 0.0]]).reshape(2, 2, 1, 1))
    assert values(channels.threshold * channels.scale) == pytest.approx([0.7 * 2.5, 0])
    assert channels.scale[0].item() == 4 and channels.scale[1].item() > 0


# DeepShift


def test_deepshift():
    weight = row(0.0, 0.7, 0.71, -0.36, 0.3, 1e-9, 9.0)
    quantizer = DeepShiftQuantizer((1, 7, 1, 1), bits=5, top_exponent=0)
    quantizer.calibrate(weight)
    assert values(quantizer(weight)) == [0, 0.5, 1, -0.5, 0.25, 2.0**-14, 1]
    quantizer = DeepShiftQuantizer((1, 7, 1, 1), bits=3)
    quantizer.calibrate(weight)
    assert values(quantizer(weight)) == [0, 2, 2, -2, 2, 2, 8]  # levels 2, 4, 8


# Activations


def test_pact():
    quantizer = PactActivation(bits=2, signed=False).train()
    quantizer.alpha.data.fill_(3.0)
    quantizer.alpha.requires_grad_(True)
    x = torch.tensor([[-1.0, 0.6, 1.4, 3.0, 7.0]], requires_grad=True)
    out = quantizer(x)
    assert values(out) == [0, 1, 1, 3, 3]
    (out * torch.tensor([1.0, 10.0, 100.0, 1000.0, 10000.0])).sum().backward()
    assert x.grad.tolist() == [[0, 10, 100, 0, 0]]
    assert quantizer.alpha.grad.item() == 11000
    assert quantizer.decayed and not quantizer.trained()
    quantizer.learn = True
    assert quantizer.trained()[0] is quantizer.alpha


def test_pact_calibration():
    quantizer = PactActivation(bits=4, signed=False, calibration="max")
    quantizer.calibrate(torch.tensor([0.0, 6.0]))
    assert quantizer.alpha.item() == pytest.approx(6) and quantizer.scale.item() == pytest.approx(0.4)


def test_minmax_activations_follow_the_largest():
    quantizer = MinMaxActivation(bits=2, signed=False).train()
    quantizer.calibrate(torch.tensor([0.0, 3.0]))
    assert quantizer.scale.item() == 1
    quantizer(torch.tensor([0.0, 6.0]))
    assert quantizer.scale.item() == pytest.approx(0.99 + 0.02)
    quantizer.finish()
    quantizer(torch.tensor([0.0, 60.0]))
    assert quantizer.scale.item() == pytest.approx(1.01)
    signed = MinMaxActivation(bits=3, signed=True).train()
    signed.scale.data.fill_(1.0)
    signed(torch.tensor([-8.0, 3.0]))
    assert signed.scale.item() == pytest.approx(0.99 + 0.02)


# Plain rounding


def test_uniform_by_range_and_by_layer():
    weight = torch.tensor([[1.0, -6.0], [2.0, 0.5]]).reshape(2, 2, 1, 1)
    quantizer = UniformQuantizer((2, 2, 1, 1), bits=3, calibration="max")
    quantizer.calibrate(weight)
    assert values(quantizer.scale) == pytest.approx([2, 2 / 3])
    layer = UniformQuantizer((2, 2, 1, 1), bits=3, calibration="max", granularity="layer")
    layer.calibrate(weight)
    assert values(layer.scale) == [2, 2]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: APoTQuantizer((1, 1, 1, 1), bits=7), "APoT weight must be 2 to 6 bits, not 7"),
        (lambda: APoTQuantizer((1, 1, 1, 1), bits=3, alpha=0.0), "Alpha must be above 0, not 0.0"),
        (
            lambda: APoTQuantizer((1, 1, 1, 1), bits=3, normalise="mean"),
            "Normalisation must be one of ('none', 'deviation', 'full'), not 'mean'",
        ),
        (lambda: LSQuantizer((1, 1, 1, 1), bits=1), "LSQ weight must be 2 to 8 bits, not 1"),
        (
            lambda: LSQuantizer((1, 1, 1, 1), bits=3, granularity="row"),
            "Granularity must be one of ('channel', 'layer'), not 'row'",
        ),
        (
            lambda: BinaryQuantizer((1, 1, 1, 1), granularity="row"),
            "Granularity must be one of ('channel', 'layer'), not 'row'",
        ),
        (lambda: MinMaxQuantizer((1, 1, 1, 1), bits=0), "Min-max weight must be 1 to 8 bits, not 0"),
        (lambda: MinMaxQuantizer((1, 1, 1, 1), bits=2, offset_bits=9), "Offset bits must be 0 to 8, not 9"),
        (lambda: SAWBQuantizer((1, 1, 1, 1), bits=1), "SAWB weight must be 2 to 8 bits, not 1"),
        (lambda: DeepShiftQuantizer((1, 1, 1, 1), bits=6), "Log word must be 2 to 5 bits, not 6"),
        (
            lambda: DeepShiftQuantizer((1, 1, 1, 1), bits=3, top_exponent=0.5),
            "Top exponent must be an integer or left out, not 0.5",
        ),
        (
            lambda: UniformQuantizer((1, 1, 1, 1), bits=3, calibration="kl"),
            "Calibration must be one of ('mse', 'max'), not 'kl'",
        ),
        (
            lambda: UniformQuantizer((1, 1, 1, 1), bits=3, granularity="row"),
            "Granularity must be one of ('channel', 'layer'), not 'row'",
        ),
    ],
)
def test_errors(make, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        make()
