"""From a float model and a recipe to a quantized model."""

import copy
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.nn.utils import parametrize

from twofold.golden.network import INPUT
from twofold.train.compare import check_finite, check_same
from twofold.train.data import InputFormat, check_images
from twofold.train.doors import lowered
from twofold.train.join import put_together
from twofold.train.layers import ConvLayer, QuantLayer, QuantModel, Tensors
from twofold.train.quantizers import ActivationQuantizer, WeightQuantizer, build_activation, build_quantizer
from twofold.train.quantizers.activation import sample
from twofold.train.recipe import Recipe
from twofold.train.streams import choose_scales, tie_streams
from twofold.train.wide import widen

#: Bits of what a table is asked with: those of a build's `table_bits`, if its file does not say otherwise.
TABLE_BITS = 8


def convert(
    model: nn.Module | ExportedProgram, recipe: Recipe, input: InputFormat, *, training: bool = False
) -> QuantModel:
    """Quantized model with the float model's weights, batch norm folded; not calibrated yet.

    Parameters
    ----------
    model
        Anything that `torch.fx` or `torch.export` can trace, or a program that the latter gave, of convolutions,
        linear layers, batch norm, activations, pooling, flatten, additions, constants, and what moves channels. It is
        not changed.
    recipe
        Which quantizers each layer gets.
    input
        Shape and format of the input.
    training
        To be trained: with batch norms where the recipe keeps them (`TrainSettings.batch_norm`), until
        `QuantModel.fold`.

    Raises
    ------
    ValueError
        On a layer or operation that is not supported, with its path in the module tree; if the recipe gives a layer
        with weights no quantizer, or has a path that is no layer's; if weights are NaN or infinite; or if the converted
        network, quantizers off, does not compute what the model computes on random inputs, with the first layer that
        differs.
    """
    norms = training and recipe.method == "qat" and recipe.train.batch_norm == "keep"
    lowering, layers = lowered(model, input, norms=norms)
    _check_rules(recipe, [layer.name for layer in layers])
    weighted = [layer.name for layer in layers if isinstance(layer, ConvLayer)]
    check_finite(layers)
    for layer in layers:
        _quantize(layer, recipe, _roles(layer, weighted))
    quantizer = ActivationQuantizer(bits=input.bits, signed=input.signed, calibration="max", scale=input.scale)
    layers = put_together(
        layers, lowering.input_shape, quantizer, lambda layer: _quantize(layer, recipe, _roles(layer, weighted))
    )
    total = sum(layer.float_weight.numel() for layer in layers if isinstance(layer, ConvLayer))
    for layer in layers:
        for part in layer.modules():
            if isinstance(part, (WeightQuantizer, ActivationQuantizer)):
                part.network_weights = total
    quantized = QuantModel(
        layers,
        lowering.input_shape,
        quantizer,
        heads=lowering.heads,
        structure=lowering.structure,
        name=type(model).__name__.lower(),
        recipe=recipe.name,
    )
    quantized.given_input = input
    widen(quantized, recipe.residual.bits)
    tie_streams(quantized, residuals=recipe.residual.tie)
    quantized.train(False)
    check_same(quantized, lowering.reference, lowering.places, kept=norms)
    return quantized


def _check_rules(recipe: Recipe, names: list[str]) -> None:
    # A role may be missing: one recipe serves networks with and without average pooling.
    for rule in recipe.rules:
        if not rule.match.startswith("@") and not any(fnmatchcase(name, rule.match) for name in names):
            known = ", ".join(map(repr, names))
            raise ValueError(f"Recipe {recipe.name!r}: match must be that of a layer ({known}), not {rule.match!r}")


def _roles(layer: QuantLayer, weighted: list[str]) -> tuple[str, ...]:
    roles = [f"@{layer.kind}"]
    if weighted and layer.name == weighted[0]:
        roles.append("@first")
    if weighted and layer.name == weighted[-1]:
        roles.append("@last")
    return tuple(roles)


def _quantize(layer: QuantLayer, recipe: Recipe, roles: tuple[str, ...]) -> None:
    where = f"Layer {layer.name!r}"
    weight, activation = recipe.settings(layer.name, roles)
    if isinstance(layer, ConvLayer):
        if weight is None:
            raise ValueError(f"{where} must be given a weight quantizer by the recipe {recipe.name!r}")
        try:
            quantizer = build_quantizer(weight.quantizer, tuple(layer.weight.shape), **weight.options)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{where}: {error}") from error
        if layer.norm is not None and quantizer.power_scales:
            raise ValueError(f"{where}: train.batch_norm must be 'fold' where scales are powers of two, not 'keep'")
        quantizer.learn = weight.learn
        for part in quantizer.modules():
            if isinstance(part, WeightQuantizer):
                part.grouped = layer.groups > 1
        parametrize.register_parametrization(layer, "weight", quantizer, unsafe=True)
    if layer.copies:
        return
    signed = not layer.nonnegative if activation.signed is None else activation.signed
    try:
        layer.quantizer = build_activation(
            activation.quantizer,
            bits=activation.bits,
            signed=signed,
            calibration=activation.calibration,
            limit=layer.limit,
            **activation.options,
        )
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: {error}") from error
    layer.quantizer.learn = activation.learn
    if layer.function is not None:
        # Where scales are powers of two, so is this one.
        kind = "po2" if activation.quantizer == "po2" else "lsq"
        layer.before = build_activation(kind, bits=TABLE_BITS, signed=True, calibration=activation.calibration)
        layer.before.learn, layer.before.through = activation.learn, layer.function


def calibrate_weights(layer: ConvLayer, **options: Tensor) -> None:
    """Choose the scales of a layer's weights.

    Raises
    ------
    ValueError
        If the weights cannot be quantized so, naming the layer.
    """
    try:
        layer.weight_quantizer.calibrate(layer.float_weight, **options)
    except ValueError as error:
        raise ValueError(f"Layer {layer.name!r}: {error}") from error


@torch.no_grad()
def calibrate(model: QuantModel, images: Tensor) -> None:
    """Choose every scale, layer by layer, each seeing the quantized results of those before it.

    Parameters
    ----------
    images : shape (images, channels, height, width)
        Calibration images; no labels are needed.

    Raises
    ------
    ValueError
        If there are none, or they are not what the network takes (`train.data.check_images`).
    """
    check_images(images, model.input_format)
    model.input_quantizer.calibrate(images)
    _calibrate_weights(model.conv_layers, model)
    if model.bases:
        norms = {layer.name: copy.deepcopy(layer.norm.state_dict()) for layer in model.conv_layers if layer.norm}
        choose_scales(model, {INPUT: images} | _calibrate_results(model, images, free=True))
        for layer in model.conv_layers:
            if layer.norm:
                layer.norm.load_state_dict(norms[layer.name])
        if model.input_quantizer.stream is not None:
            _calibrate_weights([layer for layer in model.conv_layers if _reads_input(layer)], model)
    _calibrate_results(model, images)
    model.calibrated = True


def _reads_input(layer: ConvLayer) -> bool:
    """Whether all that a layer convolves is the input's."""
    return all(read.source == INPUT for read in layer.reads)


def _calibrate_weights(layers: list[ConvLayer], model: QuantModel) -> None:
    for layer in layers:
        if _reads_input(layer):
            layer.weight_quantizer.read_scale(float(model.input_quantizer.scale))
        calibrate_weights(layer)


def _calibrate_results(model: QuantModel, images: Tensor, *, free: bool = False) -> Tensors:
    """Scales of the layers' results, of tied ones only where each is to have its own; samples of the tied results."""
    tensors, seen, layers = model.read(images), Tensors(), model.quant_layers
    for n, layer in enumerate(layers):
        norm = layer.norm if isinstance(layer, ConvLayer) else None
        if norm is not None:
            norm.train()  # statistics of the quantized network
        sums = layer.compute(tensors)
        if layer.before is not None:
            layer.before.calibrate(sums)
        y = layer.activate(layer.asked(sums))
        if norm is not None:
            norm.eval()
        if layer.quantizer is not None:
            if free or layer.quantizer.stream is None:
                layer.quantizer.calibrate(y)
            if layer.quantizer.stream is not None:
                seen[layer.name] = sample(y)
            y = layer.quantizer(y)
        tensors[layer.name] = y
        tensors = still_read(tensors, layers[n + 1 :])
    return seen


def still_read(tensors: Tensors, later: list[QuantLayer]) -> Tensors:
    """Those that later layers read; others need no memory any more."""
    needed = {source for layer in later for source in layer.sources}
    return {name: tensor for name, tensor in tensors.items() if name in needed}
