"""Concatenations that are made tensors of their own, where scales of their parts cannot be tied (`train.streams`)."""

from collections.abc import Callable, Sequence

from twofold.golden.network import INPUT
from twofold.support.names import free_name
from twofold.train.add_layer import AddLayer
from twofold.train.layers import ConvLayer, QuantLayer
from twofold.train.quantizers import ActivationQuantizer
from twofold.train.skip import Read, Skip
from twofold.train.streams import owners

Shape = tuple[int, int, int]


def put_together(
    layers: Sequence[QuantLayer],
    input_shape: Shape,
    input_quantizer: ActivationQuantizer,
    quantize: Callable[[AddLayer], None],
) -> list[QuantLayer]:
    """The layers, and before a convolution that needs it one that puts together what it reads.

    Parameters
    ----------
    layers
        With their quantizers.
    quantize
        Gives a new layer its quantizer.
    """
    found, made = list[QuantLayer](), dict[tuple[Read, ...], str]()
    owned = owners(input_quantizer, layers)
    shapes = {INPUT: input_shape} | {layer.name: layer.shape for layer in layers}
    for layer in layers:
        if isinstance(layer, ConvLayer) and not _meet([owned[read.source] for read in layer.reads]):
            if layer.reads not in made:
                name = free_name(f"{layer.name}.concatenation", shapes.__contains__)
                join = _join(name, layer.reads, shapes, owned)
                quantize(join)
                found.append(join)
                made[layer.reads], shapes[join.name] = join.name, join.shape
            layer.reads = (Read(made[layer.reads]),)
        found.append(layer)
    return found


def _meet(quantizers: Sequence[ActivationQuantizer]) -> bool:
    """Whether their scales are or can be such that sums over all of them are exact."""
    one = len(set(quantizers)) == 1
    return one or all(each.can_tie for each in quantizers) or all(each.power_scale for each in quantizers)


def _join(
    name: str, reads: tuple[Read, ...], shapes: dict[str, Shape], owned: dict[str, ActivationQuantizer]
) -> AddLayer:
    skips, channel = [], 0
    for read in reads:
        skips.append(Skip(read.source, channel=channel, channels=read.channels))
        channel += read.count(shapes[read.source][0])
    nonnegative = not any(owned[read.source].signed for read in reads)
    return AddLayer(name, (channel, *shapes[reads[0].source][1:]), tuple(skips), nonnegative=nonnegative)
