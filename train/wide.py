"""Residual streams that keep more bits than convolutions read (`ResidualSettings.bits`)."""

from twofold.train.add_layer import AddLayer
from twofold.train.layers import ConvLayer, QuantLayer, QuantModel
from twofold.train.pool_layers import AverageLayer
from twofold.train.quantizers import ActivationQuantizer
from twofold.train.quantizers.residual_stream import StreamActivation
from twofold.train.skip import Skip


def widen(model: QuantModel, bits: int) -> None:
    """Give every tensor that residuals read, or make, quantizers of so many bits; 0 changes nothing.

    Where something else reads it, too, that could not take the raised integers (`golden.narrow`), or it is an output,
    or has as many bits, it stays as it is. To be called once, before streams are tied.

    Raises
    ------
    ValueError
        If a tensor's own quantizer is of a kind that cannot be so, naming the layer.
    """
    if not bits:
        return
    layers = {layer.name: layer for layer in model.quant_layers}
    for name in _streams(model):
        layer = layers[name]
        quantizer, readers = layer.quantizer, [other for other in model.quant_layers if name in other.sources]
        if quantizer is None or quantizer.bits >= bits or name in [head for head, _ in model.heads]:
            continue
        if layer.function is not None or not all(_may_read(reader, name) for reader in readers):
            continue
        if type(quantizer) is not ActivationQuantizer or quantizer.fixed:
            kind = type(quantizer).__name__
            raise ValueError(
                f"Layer {name!r}: activation quantizer must be 'lsq' where residual.bits is set, not {kind}"
            )
        convolved = [one for one in readers if isinstance(one, ConvLayer) and one.reads[0].source == name]
        layer.quantizer = StreamActivation(
            bits=bits,
            read_bits=quantizer.bits if convolved else bits,
            signed=quantizer.signed,
            calibration=quantizer.calibration,
            limit=quantizer.limit,
        )
        layer.quantizer.learn, layer.quantizer.network_weights = quantizer.learn, quantizer.network_weights
        for reader in convolved:
            reader.__dict__["reader"] = layer.quantizer


def _streams(model: QuantModel) -> list[str]:
    """Names of the layers whose results are added by others, or have something added, in order."""
    added = {skip.source for layer in model.quant_layers for skip in _skips(layer)}
    return [layer.name for layer in model.quant_layers if layer.name in added or _skips(layer)]


def _skips(layer: QuantLayer) -> tuple[Skip, ...]:
    return layer.skips if isinstance(layer, ConvLayer | AddLayer) else ()


def _may_read(layer: QuantLayer, name: str) -> bool:
    """Whether a layer reads a raised tensor exactly: the bits that are not dropped, or a constant that a bias takes."""
    if isinstance(layer, AddLayer):
        return not layer.copies and not any(any(skip.padding) for skip in layer.skips)
    if isinstance(layer, ConvLayer):
        plain = not any(any(skip.padding) for skip in layer.skips if skip.source == name)
        convolves = any(read.source == name for read in layer.reads)
        return plain and not (convolves and len(layer.reads) > 1)
    return isinstance(layer, AverageLayer) and all(
        run.start >= 0 and run.count == 1 for run in (*layer.rows, *layer.columns)
    )
