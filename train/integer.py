"""PyTorch's integer mode: an exported network evaluated with torch operations, every layer.

It shares the definition of a network with the golden model, never its arithmetic.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from twofold.golden.network import INPUT, Branch, Layer, Network
from twofold.golden.table import PointwiseTable
from twofold.train.data.checks import check_shape
from twofold.train.windows import pad

#: Float32 and float64 hold every integer up to this exactly.
EXACT_SINGLE, EXACT = 2**24, 2**53


def run(network: Network, x: Tensor) -> dict[str, Tensor]:
    """Every layer's output.

    Parameters
    ----------
    network
        What to compute.
    x : int64, shape (B, C, H, W)
        Inputs, in input LSBs.

    Returns
    -------
    Layer name to int64 tensor of shape (B, M, Ho, Wo), in output LSBs.

    Raises
    ------
    TypeError
        If the inputs are not int64.
    ValueError
        If there are no inputs, they have another shape or exceed their format, or a sum could exceed what float64 holds
        exactly.
    """
    if x.dtype != torch.int64:
        raise TypeError(f"Inputs must be torch.int64, not {x.dtype}")
    if x.dim() != 4:
        raise ValueError(f"Inputs must be of shape (B, C, H, W), not {tuple(x.shape)}")
    check_shape(tuple(x.shape[1:]), network.input.shape, "Inputs")
    if not len(x):
        raise ValueError("Inputs must be at least one, not 0")
    if not network.input.low <= int(x.min()) <= int(x.max()) <= network.input.high:
        raise ValueError(
            f"Inputs must be {network.input.low} to {network.input.high}, not {int(x.min())} to {int(x.max())}"
        )
    tensors = {INPUT: x}
    for layer in network.layers:
        result = torch.empty(len(x), *layer.output.shape, dtype=torch.int64)
        for part, piece in layer.pieces:
            rows, columns = part.places
            skip = None if layer.skip is None else tensors[layer.skip.source][:, :, rows, columns]
            result[:, :, rows, columns] = _requantised(piece, accumulate(network, piece, tensors), skip)
        tensors[layer.name] = result
    del tensors[INPUT]
    return tensors


def _requantised(layer: Layer, total: Tensor, skip: Tensor | None) -> Tensor:
    """Activations; the accumulators are written over."""
    per_channel = (torch.as_tensor(a.copy()).view(1, -1, 1, 1) for a in (layer.bias, layer.multiplier, layer.right))
    bias, multiplier, right = per_channel
    scaled = total.add_(bias).mul_(multiplier)
    if skip is not None and layer.skip is not None:
        scaled.add_(torch.bitwise_left_shift(skip, right + layer.skip.shift))
    value = round_shift(scaled, right).clamp_(layer.low, layer.high)
    return value if layer.table is None else _entries(layer.table, value)


def accumulate(network: Network, layer: Layer, tensors: dict[str, Tensor]) -> Tensor:
    """Sum (or maximum) of a layer's branches, without bias; int64."""
    if layer.maximum:
        return _maximum(network, layer.branches[0], tensors)
    batch = len(tensors[layer.branches[0].source])
    total = torch.zeros(batch, *layer.output.shape, dtype=torch.int64)
    for branch in layer.branches:
        x, weights = tensors[branch.source], _weights(network, branch)
        source = network.tensors[branch.source]
        bound = max(-source.low, source.high) * int(weights.abs().flatten(1).sum(1).max())
        if bound >= EXACT:
            raise ValueError(f"Layer {layer.name!r}: sums must stay below {EXACT}, not reach {bound}")
        # Single precision is several times as fast, and exact where no partial sum can exceed what it holds.
        kind = torch.float32 if bound < EXACT_SINGLE else torch.float64
        x = pad(_read(branch, x).to(kind), branch.padding)
        part = F.conv2d(x, weights.to(kind), None, branch.stride, 0, branch.dilation, groups=branch.groups)
        total[:, branch.channel : branch.channel + branch.out_channels] += part.long()
    return total


def round_shift(value: Tensor, right: Tensor) -> Tensor:
    """``value / 2**right`` to the nearest integer, ties to even."""
    # Adding just under a half rounds ties down; where the quotient is odd, a whole half rounds them up.
    rounded = torch.bitwise_right_shift(value, right).bitwise_and_(1)
    half = torch.bitwise_left_shift(torch.ones_like(right), (right - 1).clamp(min=0))
    rounded.add_(value).add_(half - 1).bitwise_right_shift_(right)
    return rounded if right.min() > 0 else torch.where(right > 0, rounded, value)


def _read(branch: Branch, x: Tensor) -> Tensor:
    """The channels of the source, and of their activations the bits, that the branch reads."""
    x = x if branch.channels is None else x[:, list(branch.channels)]
    if branch.narrow is None:
        return x
    read = torch.bitwise_right_shift(x, branch.narrow.drop).clamp(branch.narrow.low, branch.narrow.high)
    return torch.bitwise_left_shift(read, branch.narrow.drop)


def _entries(table: PointwiseTable, values: Tensor) -> Tensor:
    return torch.as_tensor(table.entries)[values + ((1 << (table.bits - 1)) if table.signed else 0)]


def _weights(network: Network, branch: Branch) -> Tensor:
    values = torch.tensor(network.point_sets[branch.point_set].values, dtype=torch.int64)
    words = values[torch.as_tensor(branch.codes.astype("int64"))]
    return sum(
        (word << shift for word, shift in zip(words, branch.shifts, strict=True)), start=torch.zeros_like(words[0])
    )


def _maximum(network: Network, branch: Branch, tensors: dict[str, Tensor]) -> Tensor:
    x = _read(branch, tensors[branch.source]) * int(_weights(network, branch).flatten()[0])
    high, wide = branch.kernel
    lowest = torch.iinfo(torch.int64).min // 4
    x = pad(x, branch.padding, lowest)
    rows, columns = branch.output_size(*tensors[branch.source].shape[2:])
    best = torch.full((*x.shape[:2], rows, columns), lowest, dtype=torch.int64)
    for i in range(high):
        for j in range(wide):
            y0, x0 = i * branch.dilation[0], j * branch.dilation[1]
            view = x[:, :, y0 : y0 + (rows - 1) * branch.stride[0] + 1 : branch.stride[0]]
            best = torch.maximum(best, view[..., x0 : x0 + (columns - 1) * branch.stride[1] + 1 : branch.stride[1]])
    return best
