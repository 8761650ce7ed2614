"""Scales that requantisation can do exactly.

A requantisation multiplier has few digits, so it is off by up to 2 % for an arbitrary ratio of scales. But the scales
are free within a few percent: here each weight scale (or output scale, where there are no weights) moves to the nearest
value whose ratio the multiplier hits. Then the quantized model and the exported network have the same scales, and only
biases and residual constants are still rounded. The output of an addition whose scale is tied (`train.streams`) stays:
its addends' constants are made for it.

The weights are then rounded anew or keep their integers, whichever changes the layer's quantized weights less. Fine
levels make good the change of scale by rounding anew; with few levels, training leaves many weights just beside a
threshold, and each that crosses it moves by a whole level.
"""

import numpy as np
import torch

from twofold.golden.config import ArrayConfig
from twofold.train.add_layer import AddLayer
from twofold.train.exported_formats import multiplier, tensor_formats
from twofold.train.layers import ConvLayer, QuantModel
from twofold.train.pool_layers import MeanLayer
from twofold.train.reads import scale_units, unit_scale
from twofold.train.scale_layer import ScaleLayer


@torch.no_grad()
def snap(model: QuantModel, config: ArrayConfig) -> None:
    """Move the model's scales, in layer order.

    Raises
    ------
    ValueError
        If a ratio of scales is out of the requantiser's reach, naming the layer.
    """
    for layer in model.quant_layers:
        formats = tensor_formats(model)
        output = formats[layer.name].scale if layer.before is None else float(layer.before.scale)
        try:
            if isinstance(layer, ConvLayer):
                quantizer = layer.weight_quantizer
                busy = layer.weight.flatten(1).any(1).numpy()  # the export has a scale of its own for the others
                scale = (quantizer.scale * quantizer.gain).double().numpy() * unit_scale(layer, formats) / output
                pairs = [multiplier(config, float(s)) for s in scale[busy]]
                factor = np.ones_like(scale)
                factor[busy] = np.array([m * 2.0**-r for m, r in pairs]) / scale[busy]
                _rescale(layer, torch.tensor(factor))
            elif isinstance(layer, ScaleLayer):
                units = scale_units(layer, formats) / output
                busy = units > 0
                exact = np.array([m * 2.0**-r for m, r in (multiplier(config, float(u)) for u in units[busy])])
                layer.gain[torch.as_tensor(busy)] *= torch.as_tensor(exact / units[busy]).to(layer.gain)
            elif isinstance(layer, AddLayer) and layer.rounding is not None and layer.rounding.stream is None:
                base = min(formats[skip.source].scale for skip in layer.skips)
                m, r = multiplier(config, base / output)
                layer.rounding.scale.fill_(base / (m * 2.0**-r))
            elif isinstance(layer, MeanLayer) and layer.quantizer is not None and layer.quantizer.stream is None:
                unit = formats[layer.source].scale / layer.divisor
                m, r = multiplier(config, unit / output)
                layer.quantizer.scale.fill_(unit / (m * 2.0**-r))
        except ValueError as error:
            raise ValueError(f"Layer {layer.name!r}: {error}") from error


def _rescale(layer: ConvLayer, factor: torch.Tensor) -> None:
    """Multiply a layer's scales in the way that leaves the quantized weights nearer to what they were."""
    quantizer, before = layer.weight_quantizer, layer.weight.clone()
    start = {name: tensor.clone() for name, tensor in quantizer.state_dict().items()}
    quantizer.rescale(factor, keep=True)
    kept = float(((layer.weight - before) ** 2).sum())
    quantizer.load_state_dict(start)
    quantizer.rescale(factor)
    if kept < float(((layer.weight - before) ** 2).sum()):
        quantizer.load_state_dict(start)
        quantizer.rescale(factor, keep=True)
