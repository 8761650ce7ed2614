"""Factors of channels that are put into the convolutions which take these channels, where that is exact."""

from collections.abc import Container, Mapping, Sequence

import torch
from torch import Tensor

from twofold.golden.network import INPUT
from twofold.train.draft import Draft
from twofold.train.skip import Read

#: Factors that differ by more than this would take levels from the weights of some channels, and stay a layer.
MOST_SPREAD = 2.0


def fold_ahead(drafts: Sequence[Draft], outputs: Container[str], inputs: int) -> None:
    """Have convolutions read the sources of layers that only scale, in place of these layers.

    Exact where a layer adds nothing, or the convolutions have no padding, whose zeros would have to be moved, too.

    Parameters
    ----------
    drafts
        All layers, in order. Those whose results nothing reads any more are left where they are.
    outputs
        Names of the layers whose results are the network's.
    inputs
        Channels of the network's input.
    """
    counts = {INPUT: inputs} | {draft.name: draft.shape[0] for draft in drafts}
    for draft in drafts:
        takers = [other for other in drafts if any(read.source == draft.name for read in other.reads)]
        added = any(skip.source == draft.name for other in drafts for skip in other.skips)
        if draft.name not in outputs and not added and _scales(draft) and all(_takes(other, draft) for other in takers):
            for other in takers:
                _take(other, draft, counts)


def _scales(draft: Draft) -> bool:
    if draft.gain is None or len(draft.reads) > 1 or draft.relu or draft.function is not None:
        return False
    sizes = draft.gain.abs()
    return bool(sizes.max() <= MOST_SPREAD * sizes.min())


def _takes(other: Draft, draft: Draft) -> bool:
    assert draft.bias is not None
    if other.weight is None:
        return False
    # Of a transposed convolution not every position has every tap.
    uneven = any(other.geometry.get("padding", ())) or other.geometry.get("transposed", False)
    return not (uneven and bool(draft.bias.any()))


@torch.no_grad()
def _take(other: Draft, draft: Draft, counts: Mapping[str, int]) -> None:
    """Have a convolution do what a layer before it does."""
    assert other.weight is not None and other.bias is not None and draft.gain is not None and draft.bias is not None
    source, gains, biases, reads = draft.reads[0], list[Tensor](), list[Tensor](), list[Read]()
    for read in other.reads:
        numbers = list(read.channels or range(counts[read.source]))
        if read.source == draft.name:
            gains.append(draft.gain[numbers])
            biases.append(draft.bias[numbers])
            known = source.channels or range(counts[source.source])
            channels = tuple(known[number] for number in numbers)
            whole = channels == tuple(range(counts[source.source]))
            reads.append(Read(source.source, None if whole else channels))
        else:
            gains.append(torch.ones(len(numbers)))
            biases.append(torch.zeros(len(numbers)))
            reads.append(read)
    moved = (other.weight * _by_weight(torch.cat(biases), other)).flatten(1).sum(1)
    if other.norm is None:
        other.bias = other.bias + moved
    else:
        other.norm.running_mean -= moved  # type: ignore[operator]
    other.weight = other.weight * _by_weight(torch.cat(gains), other)
    other.reads = tuple(reads)


def _by_weight(numbers: Tensor, conv: Draft) -> Tensor:
    """Numbers of a convolution's inputs as they meet its weights, shape (M, N / groups, 1, 1)."""
    assert conv.weight is not None
    groups = conv.geometry.get("groups", 1)
    rows = numbers.view(groups, -1).repeat_interleave(len(conv.weight) // groups, 0)
    return rows[:, :, None, None]
