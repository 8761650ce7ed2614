"""What a build makes of a model's tensors, tables and scales."""

import torch

from twofold.golden.config import ArrayConfig
from twofold.golden.network import INPUT, Tensor
from twofold.golden.rounding import scale_multiplier
from twofold.golden.table import PointwiseTable
from twofold.train.layers import ConvLayer, QuantLayer, QuantModel
from twofold.train.quantizers import ActivationQuantizer


def tensor_formats(model: QuantModel) -> dict[str, Tensor]:
    """Every tensor's shape and number format, by name."""
    formats = {INPUT: _tensor(model.input_shape, model.input_quantizer)}
    for layer in model.quant_layers:
        if layer.quantizer is not None:
            formats[layer.name] = _tensor(layer.shape, layer.quantizer)
        else:
            source = formats[layer.sources[0]]
            formats[layer.name] = Tensor(layer.shape, source.bits, source.signed, source.scale)
    return formats


def _tensor(shape: tuple[int, int, int], quantizer: ActivationQuantizer) -> Tensor:
    return Tensor(shape, quantizer.bits, quantizer.signed, float(quantizer.scale))


@torch.no_grad()
def table_of(layer: QuantLayer) -> PointwiseTable | None:
    """What a layer's function makes of every value that it can be asked with; None where it has none."""
    before, quantizer = layer.before, layer.quantizer
    if before is None or quantizer is None:
        return None
    results = layer.activate(torch.arange(before.low, before.high + 1) * before.scale)
    entries = torch.round(results / quantizer.scale).clamp(quantizer.low, quantizer.high)
    return PointwiseTable(before.bits, before.signed, float(before.scale), entries.long().numpy())


def multiplier(config: ArrayConfig, scale: float) -> tuple[int, int]:
    """(M, r) of the build's requantiser nearest to a scale."""
    most = min(62, config.scaled_bits)
    return scale_multiplier(scale, digits=config.digits, span=config.digit_span, max_right=most)


def check_reads(layer: ConvLayer, config: ArrayConfig) -> None:
    """Refuse a build that cannot read a part of an activation's bits, where a layer does (`train.wide`)."""
    narrow = None if layer.reader is None else layer.reader.narrow
    if narrow is not None and not config.narrow_reads:
        raise ValueError(f"narrow_reads of the build must be true to read {narrow.bits} bits of more, not false")
