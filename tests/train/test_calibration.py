"""Calibration, in what the other tests would not miss."""

import pytest
import torch

from twofold.train.quantizers import build_activation, build_quantizer


@pytest.mark.parametrize("granularity", ["channel", "layer"])
def test_the_largest_weight_is_the_largest_level(granularity):
    """Uniform weights calibrated by their range."""
    weight = torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(0))
    quantizer = build_quantizer("uniform", (4, 3, 3, 3), bits=4, calibration="max", granularity=granularity)
    quantizer.calibrate(weight)
    largest = weight.abs().amax((1, 2, 3)) if granularity == "channel" else weight.abs().max().expand(4)
    assert torch.allclose(quantizer.scale, largest / 7)


def test_outliers_do_not_count_in_the_error():
    """Power-of-two weights: 15 weights are 4-bit integers times 1/8; one of 40 would pull the scale up."""
    weight = torch.tensor([*range(-7, 8), 320.0]).reshape(1, 16, 1, 1) / 8
    scales = []
    for mask in (True, False):
        quantizer = build_quantizer("po2_msqe", (1, 16, 1, 1), bits=4, outlier_mask=mask, gradient_weight=False)
        quantizer.calibrate(weight)
        scales.append(float(quantizer.scale[0]))
    assert scales[0] == 0.125 and scales[1] > 0.125


@pytest.mark.parametrize(("largest", "power"), [(7.5, 0), (12.0, 1)])
def test_an_activations_power_of_two_is_that_of_the_smaller_error(largest, power):
    """Integers to 7 fit scale 1; one value a little above is better clipped, a much larger one is not."""
    x = torch.cat([torch.arange(8.0).repeat(4), torch.full((3,), largest)])
    quantizer = build_activation("po2", bits=3, signed=False, calibration="mse", limit=None)
    quantizer.calibrate(x)

    def error(scale):
        return float(((torch.round(x / scale).clamp(0, 7) * scale - x) ** 2).sum())

    assert (error(1.0) < error(2.0)) == (power == 0)
    assert float(quantizer.scale) == 2.0**power


def test_second_words_are_scaled_for_the_units_that_have_them():
    """The offset is that of least error in the chosen weights, not that of least error in all, which is another one."""
    chosen, others = [2.8, 2.8, 1.3, 1.3], [1.1, 2.1] * 20
    weight = torch.tensor([*chosen, *others]).reshape(1, -1, 1, 1)
    quantizer = build_quantizer("stlq", tuple(weight.shape), bits=3, ratio=4 / weight.numel(), unit="element")
    quantizer.scale.data.fill_(1.0)
    quantizer.choose(weight)
    offset = int(quantizer.offset)
    assert quantizer.chosen.flatten().tolist() == [1] * 4 + [0] * 40
    errors = []
    for candidate in range(6):
        quantizer.offset.fill_(candidate)
        _, residual, second = quantizer.words(weight)
        errors.append((residual - second).flatten() ** 2)
    assert offset == min(range(6), key=lambda k: float(errors[k][:4].sum())) == 2
    assert min(range(6), key=lambda k: float(errors[k].sum())) == 3


@pytest.mark.parametrize(("least", "offset"), [(-1.1, -4), (-1.3, -5), (-1.6, -6)])
def test_the_least_level_is_the_nearest_that_there_is(least, offset):
    """Min-max weights: offsets are quarters of a step here, and the nearest is taken, not the one below."""
    weight = torch.tensor([least, 0.3, least + 3.0]).reshape(1, 3, 1, 1)  # a range of three steps of 1
    quantizer = build_quantizer("minmax", (1, 3, 1, 1), bits=2)
    quantizer.calibrate(weight)
    assert float(quantizer.scale[0]) == pytest.approx(0.25)
    assert float(quantizer.offset) == offset


@pytest.mark.parametrize(("largest", "exponent"), [(1.4, 0), (1.5, 1), (2.7, 1), (3.0, 2), (0.7, -1)])
def test_the_largest_power_is_the_nearest(largest, exponent):
    """DeepShift, in the logarithm: the limit is a half power."""
    weight = torch.tensor([0.01, -largest]).reshape(1, 2, 1, 1)
    quantizer = build_quantizer("deepshift", (1, 2, 1, 1), bits=3)
    quantizer.calibrate(weight)
    assert float(quantizer.scale[0]) * quantizer.top == 2.0**exponent


@pytest.mark.parametrize("granularity", ["channel", "layer"])
def test_points_that_fit_are_taken(granularity):
    """Subset weights that are points of a set times a scale: calibration finds both."""
    levels = [1.0, 6.0, 17.0, 32.0]
    weight = 0.5 * torch.tensor([levels, [-level for level in levels]]).reshape(2, 4, 1, 1)
    quantizer = build_quantizer("subset", (2, 4, 1, 1), bits=3, granularity=granularity)
    quantizer.calibrate(weight)
    assert quantizer.levels.tolist() == levels
    assert torch.allclose(quantizer.scale, torch.full((2,), 0.5))
    assert torch.equal(quantizer(weight), weight)


def centred_objects() -> torch.Tensor:
    """512 images of 32x32: dark, but for an object in the middle."""
    images = torch.rand(512, 1, 32, 32, generator=torch.Generator().manual_seed(1)) * 0.05
    images[:, :, 8:24, 8:24] += 0.7
    return images.repeat(1, 16, 1, 1)


@pytest.mark.parametrize("calibration", ["mse", "max"])
def test_calibration_sees_every_column(calibration):
    """A sample whose stride divides the width saw the dark column 0 only."""
    images = centred_objects()
    before = torch.get_rng_state()
    quantizer = build_activation("lsq", bits=8, signed=False, calibration=calibration, limit=None)
    quantizer.calibrate(images)
    assert torch.equal(torch.get_rng_state(), before)
    largest = float(images.max()) / 255
    assert float(quantizer.scale) == pytest.approx(largest, rel=1e-6 if calibration == "max" else 0.1)


def test_the_range_is_that_of_every_value():
    """One value in a million is what `max` must not miss."""
    x = torch.ones(1 << 20)
    x[123457], x[765433] = 5.0, -12.8
    quantizer = build_activation("lsq", bits=8, signed=True, calibration="max", limit=None)
    quantizer.calibrate(x)
    assert float(quantizer.scale) == pytest.approx(0.1)


def test_the_deviation_in_training_is_that_of_all_channels():
    """The first values of a large tensor are a few channels of the first image."""
    x = torch.randn(2, 8, 256, 256, generator=torch.Generator().manual_seed(2))
    x[0, :2] = 0
    quantizer = build_activation("sigma", bits=4, signed=True, calibration="mse", limit=None).train()
    quantizer.calibrate(x)
    for _ in range(200):
        quantizer(x)
    assert float(quantizer.sigma) == pytest.approx(float(x.std()), rel=0.05)
