"""Images are looked at before anything is computed from them."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from twofold.golden.config import load_config
from twofold.train import integer
from twofold.train.convert import calibrate, convert
from twofold.train.data import DataSet, InputFormat, PixelImages, check_images, handwritten_digits
from twofold.train.data.base import pixel_format
from twofold.train.export import export
from twofold.train.loop import accuracy, fit, predict
from twofold.train.ptq import quantize
from twofold.train.recipe import PostSettings, TrainSettings, parse_recipe
from twofold.train.snap import snap

FORM = InputFormat((3, 8, 6), scale=1 / 256)
RECIPE = parse_recipe(
    {"name": "w4", "method": "ptq", "layer": [{"match": "*", "weight": {"quantizer": "subset", "bits": 4}}]}
)
GOOD = torch.rand(4, 3, 8, 6, generator=torch.Generator().manual_seed(0))

SHAPE = r"^Images must be of shape \(3, 8, 6\), not \(8, 6, 3\); channels come first: images\.permute\(0, 3, 1, 2\)$"
WRONG = {
    "nhwc": (GOOD.permute(0, 2, 3, 1), SHAPE),
    "other": (torch.rand(4, 3, 8, 8), r"^Images must be of shape \(3, 8, 6\), not \(3, 8, 8\)$"),
    "flat": (torch.rand(4, 144), r"^Images must be of shape \(3, 8, 6\), not \(144,\)$"),
    "empty": (GOOD[:0], r"^Images must be at least one, not 0$"),
    "raw": (GOOD * 255, r"^Images must be about 0 to 0\.9961, the range of the input format, not \S+ to 25\d"),
    "signed": (GOOD * 2 - 1, r"^Images must be at least 0 for an unsigned input format, not -0\.9\d+$"),
    "nan": (torch.where(GOOD > 0.5, GOOD, torch.nan), r"^Images must be finite numbers, not NaN or infinite$"),
    "infinite": (GOOD / torch.zeros(4, 1, 1, 1), r"^Images must be finite numbers, not NaN or infinite$"),
}


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 6 * 4, 2)).eval()


def data(images: torch.Tensor, test: torch.Tensor = GOOD) -> DataSet:
    labels = torch.zeros(len(images), dtype=torch.int64)
    return DataSet("mine", images, labels, test, torch.zeros(len(test), dtype=torch.int64), FORM, 2)


@pytest.mark.parametrize("name", WRONG)
def test_wrong_images_are_refused_everywhere(name):
    """By calibration, post-training quantization, training and evaluation, float and quantized."""
    images, message = WRONG[name]
    quantized = convert(network(), RECIPE, FORM)
    labels = torch.zeros(len(images), dtype=torch.int64)
    for attempt in (
        lambda: calibrate(quantized, images),
        lambda: quantize(quantized, images, PostSettings(reconstruct=False)),
        lambda: quantize(quantized, images, PostSettings(reconstruct=True, steps=0)),
        lambda: fit(network(), data(images), TrainSettings(epochs=1, batch=2)),
        lambda: fit(quantized, data(images), TrainSettings(epochs=1, batch=2)),
        lambda: fit(
            quantized, replace(data(images), input=replace(FORM, scale=None)), TrainSettings(epochs=1, batch=2)
        ),
        lambda: predict(quantized, images),
        lambda: data(GOOD).integers(images),
        lambda: accuracy(network(), images, labels, input=FORM),
    ):
        with pytest.raises(ValueError, match=message):
            attempt()


def test_good_images_pass():
    """At the ends of the range, and a little beyond; features as a 1x1 map; pixels that are read when asked for."""
    check_images(GOOD * 1.5, FORM)
    check_images(GOOD - 1 / 600, FORM)
    check_images(torch.rand(4, 7), InputFormat((7, 1, 1), scale=1 / 256))
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.2, 0.1)
    pixels = torch.randint(256, (100, 3, 8, 6), dtype=torch.uint8)
    check_images(PixelImages(pixels, mean, std), pixel_format((3, 8, 6), mean, std))
    with pytest.raises(ValueError, match=r"^Images must be at least 0 for an unsigned input format, not -"):
        check_images(PixelImages(pixels, mean, std), FORM)
    with pytest.raises(TypeError, match=r"^Images must be a tensor, not list$"):
        check_images([[1.0]], FORM)
    with pytest.raises(TypeError, match=r"^Images must be real numbers, not torch\.uint8$"):
        check_images(pixels, FORM)
    check_images(handwritten_digits().train_x, handwritten_digits().input)


def test_integer_mode_refuses_wrong_inputs():
    """Besides what exceeds the format: no inputs at all, another shape, channels last."""
    quantized = convert(network(), RECIPE, FORM)
    calibrate(quantized, GOOD)
    config = load_config("configs/subset_8x8.toml")
    snap(quantized, config)
    exported = export(quantized, config)
    x = (GOOD * 255).long()
    assert len(integer.run(exported, x)["3"]) == 4
    for wrong, message in (
        (x[:0], r"^Inputs must be at least one, not 0$"),
        (x.permute(0, 2, 3, 1), r"^Inputs must be of shape \(3, 8, 6\), not \(8, 6, 3\); channels come first"),
        (x[0], r"^Inputs must be of shape \(B, C, H, W\), not \(3, 8, 6\)$"),
    ):
        with pytest.raises(ValueError, match=message):
            integer.run(exported, wrong)


def test_a_format_from_images():
    """Unsigned pixels of 0 to 1 have the scale 1/255; signed ones the larger of both ends."""
    unsigned = torch.arange(256).view(2, 1, 8, 16) / 255
    assert InputFormat.from_data(unsigned) == InputFormat((1, 8, 16), bits=8, signed=False, scale=1 / 255)
    signed = torch.linspace(-2, 1, 600).view(300, 2)
    assert InputFormat.from_data(signed) == InputFormat((2,), bits=8, signed=True, scale=2 / 128)
    assert InputFormat.from_data(-signed, bits=4) == InputFormat((2,), bits=4, signed=True, scale=2 / 7)
    pixels = PixelImages(torch.tensor([0, 255] * 300, dtype=torch.uint8).view(600, 1, 1, 1), (0.5,), (0.25,))
    assert InputFormat.from_data(pixels) == pixel_format((1, 1, 1), (0.5,), (0.25,))
    for images, message in (
        (unsigned[:0], r"^Images must be at least one, not 0$"),
        (unsigned * 0, r"^Images must have values to choose a scale by, not only 0$"),
        (unsigned / 0, r"^Images must be finite numbers, not NaN or infinite$"),
    ):
        with pytest.raises(ValueError, match=message):
            InputFormat.from_data(images)
    check_images(signed, InputFormat.from_data(signed))
    check_images(unsigned, InputFormat.from_data(unsigned))


def test_a_network_that_was_never_calibrated_is_not_exported():
    """It would compute with scales of 1. One whose state was written after calibration is."""
    config = load_config("configs/subset_8x8.toml")
    quantized = convert(network(), RECIPE, replace(FORM, scale=None))
    with pytest.raises(ValueError, match=r"^Network 'sequential' must be calibrated before it is exported, not just"):
        export(quantized, config)
    calibrate(quantized, GOOD)
    snap(quantized, config)
    again = convert(network(), RECIPE, replace(FORM, scale=None))
    again.load_state_dict(quantized.state_dict())
    layers = [export(model, config).layers for model in (quantized, again)]
    assert [layer.bias.tolist() for layer in layers[0]] == [layer.bias.tolist() for layer in layers[1]]
