"""Streams: which tensors of a converted model have scales that differ by powers of two.

Tensors that a convolution reads as one must, for its sums to be exact. A residual whose scale is a power of two times
that of the layer's result is a shift in requantisation (`golden.network.SkipTensor`): it takes no pass and no rounding
of its own. So the scales of the two are tied, and with them those of all tensors that residuals chain.
"""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from twofold.golden.network import INPUT
from twofold.train.add_layer import AddLayer
from twofold.train.layers import ConvLayer, QuantLayer, QuantModel
from twofold.train.pool_layers import MeanLayer
from twofold.train.quantizers import ActivationQuantizer
from twofold.train.quantizers.activation import Stream
from twofold.train.quantizers.tying import Member, tie
from twofold.train.skip import Skip


def plain_skip(model: QuantModel, layer: QuantLayer) -> Skip | None:
    """The first addend of a layer that has the shape of its result, unmoved, and is not all that the layer adds.

    None before a function by table: its sums have a scale of their own, which nothing ties.
    """
    if not isinstance(layer, ConvLayer | AddLayer) or layer.quantizer is None or layer.function is not None:
        return None
    if isinstance(layer, AddLayer) and len(layer.skips) < 2:
        return None
    shapes = _shapes(model)
    for skip in layer.skips:
        if skip == Skip(skip.source) and shapes[skip.source] == layer.shape:
            return skip
    return None


def _residual(
    model: QuantModel, owned: Mapping[str, ActivationQuantizer], layer: QuantLayer
) -> list[ActivationQuantizer]:
    """Quantizers of a residual and of the layer's result, where they can be tied."""
    skip = plain_skip(model, layer)
    if skip is None:
        return []
    pair = [owned[skip.source], owned[layer.name]]
    # The scale of an average is what requantisation can do with its divisor (`train.snap`).
    averages = [other.quantizer for other in model.quant_layers if isinstance(other, MeanLayer)]
    return pair if all(one.can_tie and one not in averages for one in pair) else []


def _concatenated(
    model: QuantModel, owned: Mapping[str, ActivationQuantizer], layer: QuantLayer
) -> list[ActivationQuantizer]:
    """Quantizers of the tensors that a layer reads as one, with the layer's own if it only puts them together."""
    found: list[ActivationQuantizer] = []
    if isinstance(layer, ConvLayer) and len(layer.reads) > 1:
        found = [owned[read.source] for read in layer.reads]
    elif isinstance(layer, AddLayer) and layer.quantizer is not None and _puts_together(model, layer):
        found = [owned[skip.source] for skip in layer.skips]
        # A function's sums have a scale of their own.
        found += [layer.quantizer] if layer.function is None else []
    apart = list(dict.fromkeys(found))
    return apart if all(one.can_tie for one in apart) else []


def _puts_together(model: QuantModel, layer: AddLayer) -> bool:
    """Whether the addends of a layer lie beside each other, in channels of their own."""
    shapes, end = _shapes(model), 0
    for skip in sorted(layer.skips, key=lambda skip: skip.channel):
        if skip.channel < end:
            return False
        end = skip.channel + skip.taken.count(shapes[skip.source][0])
    return len(layer.skips) > 1


def _shapes(model: QuantModel) -> dict[str, tuple[int, int, int]]:
    return {INPUT: model.input_shape} | {layer.name: layer.shape for layer in model.quant_layers}


def tie_streams(model: QuantModel, *, residuals: bool = True) -> None:
    """Give the quantizers of each stream a common base; to be called once, before calibration.

    Streams are of tensors that are concatenated, and with `residuals` of those that residuals chain.
    """
    owned = owners(model.input_quantizer, model.quant_layers)
    groups: list[list[ActivationQuantizer]] = []
    meetings = [_concatenated(model, owned, layer) for layer in model.quant_layers]
    if residuals:
        meetings += [_residual(model, owned, layer) for layer in model.quant_layers]
    for meeting in meetings:
        if len(meeting) < 2:
            continue
        met = [group for group in groups if any(one in group for one in meeting)]
        members = [one for group in met for one in group]
        groups = [group for group in groups if group not in met]
        groups.append(members + [one for one in meeting if one not in members])
    order = list(owned.values())
    model.ties = residuals
    for group in sorted((sorted(group, key=order.index) for group in groups), key=lambda group: order.index(group[0])):
        fixed = next((one.scale for one in group if one.fixed), torch.ones(1))
        base = nn.Parameter(fixed.detach().clone(), requires_grad=False)
        stream = Stream(base, all(one.learn and not one.fixed for one in group), len(group))
        model.bases.append(base)
        for one in group:
            one.tie(stream)


@torch.no_grad()
def choose_scales(model: QuantModel, seen: Mapping[str, Tensor]) -> None:
    """Tie every stream.

    Parameters
    ----------
    seen
        Values of each tied tensor by name, before its quantization; its quantizer has been calibrated for them by
        itself.
    """
    for base, quantizers in zip(model.bases, model.tied(), strict=True):
        tie(base, [Member.of(quantizer, seen[name]) for name, quantizer in quantizers.items()])


def tie_costs(model: QuantModel) -> dict[str, dict[str, float]]:
    """What tying has cost when the model was calibrated, by tensor: scale and mean squared error, before and after."""
    keys = ("scale_before", "error_before", "scale", "error")
    return {
        name: dict(zip(keys, quantizer.tie_cost.tolist(), strict=True))
        for quantizers in model.tied()
        for name, quantizer in quantizers.items()
    }


def describe_ties(model: QuantModel) -> list[str]:
    """The same in words, a line a stream and a tensor; none where nothing is tied."""
    lines = []
    for number, quantizers in enumerate(model.tied(), 1):
        costs = {name: quantizer.tie_cost.tolist() for name, quantizer in quantizers.items()}
        before, after = (sum(cost[place] for cost in costs.values()) for place in (1, 3))
        lines.append(f"stream {number}: {len(costs)} scales tied, squared error {before:.3g} -> {after:.3g}")
        for name, (own, error, scale, tied) in costs.items():
            lines.append(f"  {name}: scale {own:.5g} -> {scale:.5g}, squared error {error:.3g} -> {tied:.3g}")
    return lines


def owners(input_quantizer: ActivationQuantizer, layers: Iterable[QuantLayer]) -> dict[str, ActivationQuantizer]:
    """The quantizer that gives each tensor its format, by the tensor's name."""
    found = {INPUT: input_quantizer}
    for layer in layers:
        found[layer.name] = found[layer.sources[0]] if layer.quantizer is None else layer.quantizer
    return found
