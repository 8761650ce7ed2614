"""Post-training quantization: calibrate, then fit each layer's gain and bias to what the float layer gave."""

import torch
from torch import Tensor

from train.convert import calibrate
from train.layers import ConvLayer, QuantModel
from train.recipe import PostRule

#: Pull of the fitted gain towards 1, as a part of the output's energy.
RIDGE = 1e-3


@torch.no_grad()
def quantize(model: QuantModel, images: Tensor, settings: PostRule) -> None:
    """Calibrate a converted model on training images, and reconstruct it layer by layer."""
    images = images[: settings.images]
    calibrate(model, images)
    if settings.reconstruct:
        reconstruct(model, images)


@torch.no_grad()
def reconstruct(model: QuantModel, images: Tensor) -> None:
    """Give each output channel the gain and bias with which its sums are nearest to the float layer's, then recalibrate.

    The float layer sees float inputs, the quantized one quantized inputs, so errors of earlier layers are made good
    as far as a gain and a bias can. Least squares, in closed form, layer by layer.
    """
    wanted = float_trace(model, images)
    tensors = model.read(images)
    for layer in model.quant_layers:
        if isinstance(layer, ConvLayer):
            fit_channels(layer, tensors, wanted)
        y = layer.activate(layer.compute(tensors))
        if layer.quantizer is not None:
            layer.quantizer.calibrate(y)
            y = layer.quantizer(y)
        tensors[layer.name] = y


@torch.no_grad()
def correct_bias(model: QuantModel, images: Tensor) -> None:
    """Shift each bias so that the mean of the layer's sums is the float layer's; to be done when scales have moved."""
    wanted = float_trace(model, images)
    tensors = model.read(images)
    for layer in model.quant_layers:
        if isinstance(layer, ConvLayer):
            error = wanted[layer.name] - layer.compute(tensors)
            layer.bias += error.mean(dim=(0, 2, 3))
        tensors[layer.name] = layer(tensors)


def float_trace(model: QuantModel, images: Tensor) -> dict[str, Tensor]:
    """What the layers with weights give in float, before the activation."""
    model.enable(False)
    tensors = model.read(images)
    sums = {}
    for layer in model.quant_layers:
        y = layer.compute(tensors)
        if isinstance(layer, ConvLayer):
            sums[layer.name] = y
        tensors[layer.name] = layer.activate(y)
    model.enable(True)
    return sums


def fit_channels(layer: ConvLayer, tensors: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    """Least-squares gain and bias of each channel of one layer; `wanted` holds its float sums."""
    part = layer.convolve(tensors)
    rest = layer.compute(tensors) - part - layer.bias.view(1, -1, 1, 1)
    goal = wanted[layer.name] - rest
    x, y = (t.double().transpose(0, 1).flatten(1) for t in (part, goal))
    x_mean, y_mean = x.mean(1, keepdim=True), y.mean(1, keepdim=True)
    power = ((x - x_mean) ** 2).mean(1)
    cross = ((x - x_mean) * (y - y_mean)).mean(1)
    ridge = RIDGE * (y**2).mean(1) + 1e-12
    gain = ((cross + ridge) / (power + ridge)).clamp(0.5, 2.0)
    layer.weight_quantizer.gain *= gain.float()
    layer.bias.copy_(y_mean[:, 0] - gain * x_mean[:, 0])
