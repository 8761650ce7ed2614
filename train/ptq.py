"""Post-training quantization: calibrate, then make each block's output nearest to what the float block gave.

A layer's sums are its results before activation and quantization. The float layers see float inputs and the quantized
ones quantized inputs, so each block makes good, as far as it can, what earlier ones did wrong.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from twofold.golden.network import INPUT
from twofold.train.convert import calibrate, calibrate_weights, still_read
from twofold.train.data import check_images
from twofold.train.data.augment import Augment
from twofold.train.layers import ConvLayer, QuantLayer, QuantModel, Tensors
from twofold.train.quantizers import ActivationQuantizer, WeightQuantizer
from twofold.train.quantizers.activation import sample
from twofold.train.recipe import PostSettings
from twofold.train.reconstruct import learn_block
from twofold.train.streams import choose_scales
from twofold.train.windows import pad

#: Pull of the fitted gain towards 1, as a part of the output's energy.
RIDGE = 1e-3
#: Images of one pass where windows are unfolded.
BATCH = 128


def quantize(model: QuantModel, images: Tensor, settings: PostSettings) -> Tensors:
    """Calibrate a converted model on training images, and reconstruct it block by block.

    Returns
    -------
    The mean of the float layers' sums on these images by name, shape (channels,), for `correct_bias`.
    """
    images = images[: settings.images]
    check_images(images, model.input_format)
    wanted = float_means(model, images)
    if settings.reconstruct:
        reconstruct(model, images, settings)
    else:
        calibrate(model, images)
    return wanted


@torch.no_grad()
def float_means(model: QuantModel, images: Tensor) -> Tensors:
    """Mean of every layer's sums in float. To be called before the model's weights and biases change."""
    tensors: Tensors = {INPUT: images.reshape(len(images), *model.input_shape)}
    means, layers = Tensors(), model.quant_layers
    for n, layer in enumerate(layers):
        sums = float_sums(layer, tensors)
        means[layer.name] = sums.mean(dim=(0, 2, 3))
        tensors[layer.name] = layer.activate(sums)
        tensors = still_read(tensors, layers[n + 1 :])
    return means


@torch.no_grad()
def float_results(model: QuantModel, images: Tensor) -> Tensors:
    """Samples of the float results that tied quantizers will round; each of these is calibrated for them by itself."""
    tensors: Tensors = {INPUT: images.reshape(len(images), *model.input_shape)}
    seen, layers = Tensors(), model.quant_layers
    for n, layer in enumerate(layers):
        y = tensors[layer.name] = layer.activate(float_sums(layer, tensors))
        if layer.quantizer is not None and layer.quantizer.stream is not None:
            layer.quantizer.calibrate(y)
            seen[layer.name] = sample(y)
        tensors = still_read(tensors, layers[n + 1 :])
    return seen


def float_sums(layer: QuantLayer, tensors: Tensors) -> Tensor:
    """A layer's sums with float weights, of all that its tensors hold."""
    if not isinstance(layer, ConvLayer):
        return layer.compute(tensors)
    reader = [] if layer.reader is None else [layer.reader]
    quantizers: list[WeightQuantizer | ActivationQuantizer] = [layer.weight_quantizer, *reader]
    for quantizer in quantizers:
        quantizer.enabled = False
    sums = layer.compute(tensors)
    for quantizer in quantizers:
        quantizer.enabled = True
    return sums


def blocks(model: QuantModel, unit: str) -> list[list[QuantLayer]]:
    """The layers in order, each alone or (``block``) grouped, cut where a single tensor goes on to the rest."""
    layers = model.quant_layers
    if unit == "layer":
        return [[layer] for layer in layers]
    groups: list[list[QuantLayer]] = [[]]
    seen = {INPUT}
    for n, layer in enumerate(layers):
        groups[-1].append(layer)
        if n + 1 < len(layers) and not any(seen & set(later.sources) for later in layers[n + 1 :]):
            groups.append([])
        seen.add(layer.name)
    return groups


def reconstruct(model: QuantModel, images: Tensor, settings: PostSettings) -> None:
    """Calibrate a block, reconstruct it, go on to the next.

    A block that is then farther from the float one, on images that it has not learned from, is as calibrated again.
    """
    generator = torch.Generator().manual_seed(settings.seed)
    learned, judging = shares(len(images), settings)
    augment = Augment(shift=settings.shift, flip=settings.flip)
    images = torch.cat([images] + [augment(images, generator) for _ in range(settings.copies - 1)])
    model.input_quantizer.calibrate(images)
    if model.bases:
        choose_scales(model, {INPUT: images} | float_results(model, images))
    floats: Tensors = {INPUT: images.reshape(len(images), *model.input_shape)}
    with torch.no_grad():
        tensors = model.read(images)
    groups = blocks(model, settings.unit)
    for n, group in enumerate(groups):
        before = dict(tensors)
        for layer in group:
            with torch.no_grad():
                sums = float_sums(layer, floats)
                floats[layer.name] = layer.activate(sums)
                _calibrate(layer, tensors, sums, settings)
        if settings.steps and any(isinstance(layer, ConvLayer) for layer in group):
            calibrated, states = dict(tensors), [_copied(layer) for layer in group]
            learn_block(group, before, floats, settings, generator, images=learned)
            for layer in group:
                _settle(layer, tensors, again=layer is group[-1] or not settings.act_lr)
            name = group[-1].name
            if _error(tensors, floats, name, judging) > _error(calibrated, floats, name, judging):
                tensors = calibrated
                for layer, state in zip(group, states, strict=True):
                    layer.load_state_dict(state)
        later = [layer for group in groups[n + 1 :] for layer in group]
        tensors, floats = still_read(tensors, later), still_read(floats, later)
    model.calibrated = True


def shares(count: int, settings: PostSettings) -> tuple[Tensor, Tensor]:
    """Numbers of the images that blocks learn from, and of those that judge what they have learned.

    The last ones of `count` images judge, and none of their copies is learned from. Without such, all judge.
    """
    held = min(round(settings.held_out * count), count - 1)
    every = torch.arange(count * settings.copies)
    learned = every[every % count < count - held]
    return learned, every[count - held : count] if held else learned


def _copied(layer: QuantLayer) -> Tensors:
    return {key: value.clone() for key, value in layer.state_dict().items()}


def _error(tensors: Tensors, floats: Tensors, name: str, images: Tensor) -> float:
    return float(F.mse_loss(tensors[name][images], floats[name][images]))


def _calibrate(layer: QuantLayer, tensors: Tensors, sums: Tensor, settings: PostSettings) -> None:
    """Weights, then gain and bias, then the output's scale; `sums` are the float layer's."""
    if isinstance(layer, ConvLayer):
        if settings.weighted and layer.weight_quantizer.weighted:
            calibrate_weights(layer, importance=second_moments(layer, layer.input(tensors)))
        else:
            calibrate_weights(layer)
        fit_channels(layer, tensors, sums)
    _settle(layer, tensors)


@torch.no_grad()
def _settle(layer: QuantLayer, tensors: Tensors, *, again: bool = True) -> None:
    """Output of a layer; its scale is chosen for it, unless it has been trained or is tied."""
    sums = layer.compute(tensors)
    if again and layer.before is not None:
        layer.before.calibrate(sums)
    y = layer.activate(layer.asked(sums))
    if layer.quantizer is not None:
        if again and layer.quantizer.stream is None:
            layer.quantizer.calibrate(y)
        y = layer.quantizer(y)
    tensors[layer.name] = y


@torch.no_grad()
def second_moments(layer: ConvLayer, x: Tensor) -> Tensor:
    """Mean square of what each weight is multiplied with, shape (M, N / groups, Kh, Kw)."""
    shape = layer.weight_quantizer.shape
    if layer.transposed:  # each weight meets every input, but for those at edges
        mean = x.double().square().mean(dim=(0, 2, 3)).reshape(layer.groups, -1, 1, 1).expand(-1, *shape[1:])
        return mean.repeat_interleave(shape[0] // layer.groups, dim=0)
    total = torch.zeros(x.shape[1] * shape[2] * shape[3], dtype=torch.float64)
    for part in x.split(BATCH):
        windows = F.unfold(pad(part, layer.padding).square(), shape[2:], layer.dilation, 0, layer.stride)
        total += windows.mean(dim=2).sum(dim=0)
    moments = (total / len(x)).reshape(layer.groups, *shape[1:])
    return moments.repeat_interleave(shape[0] // layer.groups, dim=0)


@torch.no_grad()
def correct_bias(model: QuantModel, images: Tensor, wanted: Tensors) -> None:
    """Shift each bias so that the mean of the layer's sums is the float layer's; to be done when scales have moved."""
    tensors, layers = model.read(images), model.quant_layers
    for n, layer in enumerate(layers):
        if isinstance(layer, ConvLayer):
            layer.bias.add_(wanted[layer.name] - layer.compute(tensors).mean(dim=(0, 2, 3)))
        tensors[layer.name] = layer(tensors)
        tensors = still_read(tensors, layers[n + 1 :])


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
