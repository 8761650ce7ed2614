"""Channels of a value while a graph is walked: each is a channel of some layer's result, or of the input.

So concatenations, slices and shuffles of channels are lists; what takes such a value reads the channels where they are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from twofold.golden.network import INPUT
from twofold.train.skip import Read

if TYPE_CHECKING:
    from twofold.train.draft import Draft


@dataclass(frozen=True)
class Pick:
    """Channels of one tensor, in some order, each once.

    Parameters
    ----------
    draft
        What gives the tensor; ``None``: the input.
    count
        Channels that the tensor has.
    channels
        Those that are meant.
    shared
        Other operations take them, too.
    """

    draft: Draft | None
    count: int
    channels: tuple[int, ...]
    shared: bool = False

    @classmethod
    def of(cls, draft: Draft | None, count: int) -> Pick:
        """The whole tensor."""
        return cls(draft, count, tuple(range(count)))

    @property
    def name(self) -> str:
        """Of the tensor."""
        return INPUT if self.draft is None else self.draft.name

    @property
    def whole(self) -> bool:
        """All channels in order."""
        return self.channels == tuple(range(self.count))

    @property
    def read(self) -> Read:
        """What a layer reads."""
        return Read(self.name, None if self.whole else self.channels)


Picks = tuple[Pick, ...]


def joined(picks: Iterable[Pick]) -> Picks:
    """The same channels as few picks: neighbours of one tensor are one, unless a channel came twice."""
    found: list[Pick] = []
    for pick in picks:
        last = found[-1] if found else None
        if last is not None and last.draft is pick.draft and not {*last.channels} & {*pick.channels}:
            both = last.channels + pick.channels
            found[-1] = replace(last, channels=both, shared=last.shared or pick.shared)
        else:
            found.append(pick)
    return tuple(found)


def singles(picks: Picks) -> list[Pick]:
    """A pick for each channel."""
    return [replace(pick, channels=(channel,)) for pick in picks for channel in pick.channels]


def chosen(picks: Picks, numbers: Iterable[int]) -> Picks:
    """The channels of these numbers, in this order."""
    ones = singles(picks)
    return joined(ones[number] for number in numbers)


def gathered(picks: Picks) -> tuple[int, ...]:
    """Numbers of the channels in an order in which those of a tensor follow each other, ascending.

    Of a channel that comes again the second ones follow behind all first ones, and so on.
    """
    ones = singles(picks)
    tensors = list(dict.fromkeys(one.draft for one in ones))
    seen: Counter[tuple[Draft | None, tuple[int, ...]]] = Counter()
    keys = []
    for number, one in enumerate(ones):
        keys.append((seen[one.draft, one.channels], tensors.index(one.draft), one.channels, number))
        seen[one.draft, one.channels] += 1
    return tuple(key[-1] for key in sorted(keys))


def inverse(order: Sequence[int]) -> tuple[int, ...]:
    """Where each number stands in a permutation."""
    places = {number: place for place, number in enumerate(order)}
    return tuple(places[number] for number in range(len(order)))


def arranged(picks: Picks, weight: Tensor, groups: int = 1) -> tuple[tuple[Read, ...], Tensor, tuple[int, ...]]:
    """A convolution of these channels as one that reads those of a tensor together.

    Parameters
    ----------
    weight : shape (M, N / groups, ...)
        Its weights.

    Returns
    -------
    What it reads, its weights, and which of the M channels its channels then are: groups change places.
    """
    inputs, outputs = weight.shape[1], len(weight) // groups
    rank = inverse(gathered(picks))
    order = sorted(range(groups), key=lambda group: rank[group * inputs])
    numbers, parts, rows = list[int](), list[Tensor](), list[int]()
    for group in order:
        members = sorted(range(group * inputs, (group + 1) * inputs), key=rank.__getitem__)
        outs = range(group * outputs, (group + 1) * outputs)
        parts.append(weight[list(outs)][:, [member - group * inputs for member in members]])
        numbers += members
        rows += outs
    return tuple(pick.read for pick in chosen(picks, numbers)), torch.cat(parts), tuple(rows)
