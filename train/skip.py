"""A tensor that a layer adds."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from twofold.golden.network import Padding, Pair
from twofold.train.windows import pad


@dataclass(frozen=True)
class Skip:
    """A tensor that is added: every `stride`-th position of its padded map, into the channels from `channel` on."""

    source: str
    stride: Pair = (1, 1)
    channel: int = 0
    padding: Padding = (0, 0)

    def read(self, tensors: Mapping[str, Tensor], channels: int) -> Tensor:
        """The addend, zeros where it has no channel."""
        x = pad(tensors[self.source], self.padding)[:, :, :: self.stride[0], :: self.stride[1]]
        after = channels - self.channel - x.shape[1]
        return F.pad(x, (0, 0, 0, 0, self.channel, after)) if self.channel or after else x
