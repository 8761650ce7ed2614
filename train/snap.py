"""Scales that requantisation can do exactly.

A requantisation multiplier has few digits, so it is off by up to 2 % for an arbitrary ratio of scales. But the scales
are free within a few percent: here each weight scale (or output scale, where there are no weights) moves to the nearest
value whose ratio the multiplier hits, and the weights are rounded anew. Then the quantized model and the exported
network have the same scales, and only biases and residual constants are still rounded.
"""

import numpy as np
import torch

from golden.config import ArrayConfig
from train.export import multiplier, tensor_formats
from train.layers import AddLayer, ConvLayer, PoolLayer, QuantModel


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
        output = formats[layer.name].scale
        try:
            if isinstance(layer, ConvLayer):
                quantizer = layer.weight_quantizer
                scale = (quantizer.scale * quantizer.gain).double().numpy() * formats[layer.source].scale / output
                pairs = [multiplier(config, float(s)) for s in scale]
                near = np.array([m * 2.0**-r for m, r in pairs])
                quantizer.rescale(torch.tensor(near / scale))
            elif isinstance(layer, AddLayer) and layer.quantizer is not None:
                base = min(formats[skip.source].scale for skip in layer.skips)
                m, r = multiplier(config, base / output)
                layer.quantizer.scale.fill_(base / (m * 2.0**-r))
            elif isinstance(layer, PoolLayer) and layer.quantizer is not None:
                unit = formats[layer.source].scale / (layer.kernel[0] * layer.kernel[1])
                m, r = multiplier(config, unit / output)
                layer.quantizer.scale.fill_(unit / (m * 2.0**-r))
        except ValueError as error:
            raise ValueError(f"Layer {layer.name!r}: {error}") from error
