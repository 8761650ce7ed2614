"""What two-word log quantization [STLQ] costs: operations, storage, and the array's own words, bits and cycles."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from twofold.golden.config import ArrayConfig
from twofold.golden.image import Image
from twofold.golden.isa import line_bits
from twofold.golden.network import Layer, Network

#: Part of a uniform operation that one of these weights counts for. What the last two mean is not published; with
#: them the formula gives the published figures.
FACTORS = {"uniform": 1.0, "apot": 0.75, "power": 0.7}
#: One operation: the binary operations of 8 bits times 8 bits.
UNIT = 64


def fix_ops(ends: int, others: int, weight_bits: int, act_bits: int, *, levels: str = "uniform") -> float:
    """Operations of 8 by 8 bits (FixOPS) of an inference.

    Parameters
    ----------
    ends
        Multiply-accumulates of the first convolution and of the linear layer, which are in 8 bits: they count 1 each.
    others
        All other multiply-accumulates, which count ``weight_bits * act_bits / 64``, times a factor.
    weight_bits, act_bits
        Of the others.
    levels
        One of `FACTORS`.

    Source: fitted to table 3 of [APoT] (ResNet-18), whose figures it gives to 1 M. [STLQ] takes the measure over and
    does not say how a second word counts: no rule is known that gives both of its figures, so there is none here. What
    second words cost on the array, `word_costs` says.
    """
    if levels not in FACTORS:
        raise ValueError(f"Levels must be one of {tuple(FACTORS)}, not {levels!r}")
    return ends + others * FACTORS[levels] * weight_bits * act_bits / UNIT


def paper_storage(convolutions: int, linear: int, bits: int, ratio: float) -> float:
    """Bits of all weights by the rule behind [STLQ], table 4: ``n * (N + 1) * (1 + R) + 8 * n_linear``.

    Parameters
    ----------
    convolutions, linear
        Weights of all convolutions, and of the linear layer.
    bits
        N: bits of a word.
    ratio
        R: part of the weights that have two words.

    The table prints it in units of 32 bits. A word has one bit more than its name says; the paper does not say what
    that is for. The array's words have none such: `word_costs` counts what is really stored.
    """
    if not 0 <= ratio <= 1:
        raise ValueError(f"Two-word ratio must be 0 to 1, not {ratio!r}")
    return convolutions * (bits + 1) * (1 + ratio) + 8 * linear


def two_word_layers(network: Network) -> tuple[str, ...]:
    """Names of the layers that STLQ quantized with a ratio above 0, by the network's facts (`train.export`)."""
    facts = network.meta.get("layers", {})
    if not isinstance(facts, Mapping):
        raise ValueError(f"Network {network.name!r} must have a table of its layers' facts, not {facts!r}")
    return tuple(layer.name for layer in network.layers if facts.get(layer.name, {}).get("two_word_ratio", 0) > 0)


def first_words(network: Network) -> Network:
    """The network without second words: other results, the cycles of single words."""
    names = two_word_layers(network)
    layers = tuple(_single(layer) if layer.name in names else layer for layer in network.layers)
    return replace(network, layers=layers)


def _single(layer: Layer) -> Layer:
    branch = layer.branches[0]
    return replace(
        layer, branches=(replace(branch, codes=branch.codes[:1], shifts=branch.shifts[:1]), *layer.branches[1:])
    )


@dataclass(frozen=True)
class WordCost:
    """What second words cost in some layers.

    Parameters
    ----------
    words, extra_words
        Weights, and those that have a second word in a tile that the array schedules.
    cycles, extra_cycles
        Predicted cycles with single words, and what second words add.
    """

    words: int
    extra_words: int
    cycles: int
    extra_cycles: int

    @property
    def word_ratio(self) -> float:
        """Second words a weight."""
        return self.extra_words / self.words

    @property
    def cycle_ratio(self) -> float:
        """Cycles of second words in parts of those of single words."""
        return self.extra_cycles / self.cycles


def word_costs(network: Network, image: Image, single: Image) -> dict[str, WordCost]:
    """Costs of second words by layer, those without left out.

    Parameters
    ----------
    network
        As exported.
    image, single
        Memory images of the network and of `first_words`, for one build.

    Raises
    ------
    ValueError
        If the images are for different builds, or not of this network's layers.
    """
    if image.config != single.config:
        raise ValueError(f"Images must be for one build, not {image.config.name!r} and {single.config.name!r}")
    cycles = {layer.name: layer.cycles for layer in image.layers}
    before = {layer.name: layer.cycles for layer in single.layers}
    names = [layer.name for layer in network.layers]
    for table in (cycles, before):
        if sorted(table) != sorted(names):
            raise ValueError(f"Images must have the layers {names}, not {list(table)}")
    wanted = two_word_layers(network)
    return {
        layer.name: WordCost(
            layer.branches[0].codes[0].size,
            _scheduled(network, layer, image.config),
            before[layer.name],
            cycles[layer.name] - before[layer.name],
        )
        for layer in network.layers
        if layer.name in wanted
    }


def total(costs: Mapping[str, WordCost]) -> WordCost:
    """All layers together."""
    parts = costs.values()
    return WordCost(
        sum(cost.words for cost in parts),
        sum(cost.extra_words for cost in parts),
        sum(cost.cycles for cost in parts),
        sum(cost.extra_cycles for cost in parts),
    )


def image_bits(image: Image) -> dict[str, int]:
    """Bits of the lines that the network takes, by memory."""
    return {kind.name.lower(): len(lines) * line_bits(image.config, kind) for kind, lines in image.sections.items()}


def _scheduled(network: Network, layer: Layer, config: ArrayConfig) -> int:
    """Weights in tiles whose second words are not all zero."""
    branch = layer.branches[0]
    values = np.array(network.point_sets[branch.point_set].values)
    found = 0
    for codes in branch.codes[1:]:
        busy = values[codes] != 0
        for row in range(0, busy.shape[0], config.cols):
            for column in range(0, busy.shape[1], config.rows):
                tile = busy[row : row + config.cols, column : column + config.rows]
                found += int(tile.any(axis=(0, 1)).sum()) * tile.shape[0] * tile.shape[1]
    return found
