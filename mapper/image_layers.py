"""The layer table of an image."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from twofold.golden.causes import causes, share_out, totals
from twofold.golden.config import ArrayConfig
from twofold.golden.image import ImageLayer, PlacedTensor
from twofold.golden.isa import Instruction, Pass
from twofold.golden.network import Network
from twofold.golden.timing import Step, cycles
from twofold.mapper.bounds import accumulator_bits
from twofold.mapper.macs import useful_macs


def placed_outputs(network: Network, tensors: Mapping[str, PlacedTensor]) -> tuple[PlacedTensor, ...]:
    """Where the network's outputs lie, with the order in which a user gets each."""
    return tuple(replace(tensors[layer.name], order=network.orders.get(layer.name)) for layer in network.outputs)


@dataclass(frozen=True)
class Span:
    """A layer's first and last program line, and cycles of its passes by purpose."""

    first: int
    last: int
    occupied: Counter[str]


def image_layers(
    config: ArrayConfig,
    network: Network,
    tensors: Mapping[str, PlacedTensor],
    spans: Sequence[Span],
    program: Sequence[Instruction],
    steps: Sequence[Step],
) -> tuple[ImageLayer, ...]:
    """A row a layer.

    Parameters
    ----------
    tensors
        Where every layer's output lies.
    spans
        Where each layer is in the program.
    program, steps
        The instructions of all layers at least, from line 0 on, and their times.
    """
    table = causes(config, program, steps)
    rows = []
    for layer, span in zip(network.layers, spans, strict=True):
        own = slice(span.first, span.last + 1)
        spent, macs = totals(table[own]), useful_macs(layer)
        rows.append(
            ImageLayer(
                name=layer.name,
                kind=layer.kind,
                first=span.first,
                last=span.last,
                passes=sum(isinstance(one, Pass) for one in program[own]),
                cycles=cycles(steps[own]),
                spent=spent,
                work=share_out(spent["array"], span.occupied, -(-macs // (config.rows * config.cols))),
                macs=macs,
                acc_bits=accumulator_bits(config, network, layer),
                output=tensors[layer.name],
            )
        )
    return tuple(rows)
