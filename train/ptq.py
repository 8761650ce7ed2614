"""Post-training quantization: calibrate, then make each layer's sums nearest to what the float layer gave.

A layer's sums are its results before activation and quantization. The float layers see float inputs and the quantized
ones quantized inputs, so each layer makes good, as far as it can, what earlier ones did wrong.
"""

import torch
from torch import Tensor

from train.convert import calibrate
from train.layers import ConvLayer, QuantLayer, QuantModel, Tensors
from train.recipe import PostRule
from train.reconstruct import learn_rounding

#: Pull of the fitted gain towards 1, as a part of the output's energy.
RIDGE = 1e-3


def quantize(model: QuantModel, images: Tensor, settings: PostRule) -> Tensors:
    """Calibrate a converted model on training images, and reconstruct it layer by layer.

    Returns
    -------
    The float layers' sums on these images by name, for `correct_bias`.
    """
    images = images[: settings.images]
    wanted = float_sums(model, images)
    calibrate(model, images)
    if settings.reconstruct:
        reconstruct(model, images, wanted, settings)
    return wanted


@torch.no_grad()
def float_sums(model: QuantModel, images: Tensor) -> Tensors:
    """Sums of every layer in float. To be called before the model's weights and biases change."""
    model.enable(False)
    tensors, sums = model.read(images), {}
    for layer in model.quant_layers:
        sums[layer.name] = layer.compute(tensors)
        tensors[layer.name] = layer.activate(sums[layer.name])
    model.enable(True)
    return sums


def reconstruct(model: QuantModel, images: Tensor, wanted: Tensors, settings: PostRule) -> None:
    """Fit gains and biases in closed form, learn the rounding, and calibrate the output, layer by layer."""
    generator = torch.Generator().manual_seed(settings.seed)
    with torch.no_grad():
        tensors = model.read(images)
    for layer in model.quant_layers:
        if isinstance(layer, ConvLayer):
            fit_channels(layer, tensors, wanted[layer.name])
            if settings.steps:
                learn_rounding(
                    layer, tensors, layer.activate(wanted[layer.name]),
                    steps=settings.steps, lr=settings.lr, generator=generator,
                )  # fmt: skip
                fit_channels(layer, tensors, wanted[layer.name])
        tensors[layer.name] = _settle(layer, tensors)


@torch.no_grad()
def _settle(layer: QuantLayer, tensors: Tensors) -> Tensor:
    """Output of a layer whose output scale is chosen for it."""
    y = layer.activate(layer.compute(tensors))
    if layer.quantizer is None:
        return y
    layer.quantizer.calibrate(y)
    return layer.quantizer(y)


@torch.no_grad()
def correct_bias(model: QuantModel, images: Tensor, wanted: Tensors) -> None:
    """Shift each bias so that the mean of the layer's sums is the float layer's; to be done when scales have moved."""
    tensors = model.read(images)
    for layer in model.quant_layers:
        if isinstance(layer, ConvLayer):
            layer.bias.add_((wanted[layer.name] - layer.compute(tensors)).mean(dim=(0, 2, 3)))
        tensors[layer.name] = layer(tensors)


@torch.no_grad()
def fit_channels(layer: ConvLayer, tensors: Tensors, wanted: Tensor) -> None:
    """Least-squares gain and bias of each channel of one layer; `wanted` holds its float sums."""
    part = layer.convolve(tensors)
    rest = layer.compute(tensors) - part - layer.bias.view(1, -1, 1, 1)
    x, y = (t.double().transpose(0, 1).flatten(1) for t in (part, wanted - rest))
    x_mean, y_mean = x.mean(1, keepdim=True), y.mean(1, keepdim=True)
    power = ((x - x_mean) ** 2).mean(1)
    cross = ((x - x_mean) * (y - y_mean)).mean(1)
    ridge = RIDGE * (y**2).mean(1) + 1e-12
    gain = ((cross + ridge) / (power + ridge)).clamp(0.5, 2.0)
    layer.weight_quantizer.gain *= gain.float()
    layer.bias.copy_(y_mean[:, 0] - gain * x_mean[:, 0])
