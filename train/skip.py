"""What a layer reads of a tensor, and tensors that it adds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from twofold.golden.network import Padding, Pair
from twofold.train.windows import pad


@dataclass(frozen=True)
class Read:
    """A tensor, or some of its channels in their order, each once."""

    source: str
    channels: tuple[int, ...] | None = None

    def of(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """The channels."""
        x = tensors[self.source]
        return x if self.channels is None else x[:, list(self.channels)]

    def count(self, whole: int) -> int:
        """Number of channels, of a tensor that has so many."""
        return whole if self.channels is None else len(self.channels)


def concatenated(reads: Sequence[Read], tensors: Mapping[str, Tensor]) -> Tensor:
    """All channels that are read, in order."""
    parts = [read.of(tensors) for read in reads]
    return parts[0] if len(parts) == 1 else torch.cat(parts, 1)


@dataclass(frozen=True)
class Skip:
    """A tensor that is added: every `stride`-th position of its padded map, into the channels from `channel` on.

    With `channels` it is only these of the tensor's, in this order.
    """

    source: str
    stride: Pair = (1, 1)
    channel: int = 0
    padding: Padding = (0, 0)
    channels: tuple[int, ...] | None = None

    @property
    def taken(self) -> Read:
        """What of the tensor is added."""
        return Read(self.source, self.channels)

    def read(self, tensors: Mapping[str, Tensor], channels: int) -> Tensor:
        """The addend, zeros where it has no channel."""
        x = self.taken.of(tensors)
        x = pad(x, self.padding)[:, :, :: self.stride[0], :: self.stride[1]]
        after = channels - self.channel - x.shape[1]
        return F.pad(x, (0, 0, 0, 0, self.channel, after)) if self.channel or after else x
