"""Binary-Relax: a mixture whose first member's weight grows by a fixed schedule."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from twofold.train.quantizers.mixture import WeightMixture


class RelaxQuantizer(WeightMixture, name="relax"):
    """``(omega Q1 + Q2 + ... + QK) / (omega + K - 1)``; it ends in Q1.

    Parameters
    ----------
    shape
        (M, N / groups, Kh, Kw) of the weights.
    members
        Q1 first; see `AttentionQuantizer`. Q1 and ``float`` are Binary-Relax as published.
    omega
        Its start.
    growth
        Its factor an epoch.

    Source: [BinaryRelax]; [DQA] eq. 8 (omega 1, growth 1.02).
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        *,
        members: Sequence[Mapping[str, Any]],
        omega: float = 1.0,
        growth: float = 1.02,
    ):
        super().__init__(shape, members)
        if omega <= 0 or growth < 1:
            raise ValueError(f"Omega must be above 0 and growth at least 1, not {omega!r} and {growth!r}")
        self.omega, self.growth = omega, growth
        self.weight_of_first: Tensor
        self.register_buffer("weight_of_first", torch.full((1,), float(omega)))

    @torch.no_grad()
    def on_step(self, step: int, steps: int, epoch: int) -> None:
        """Omega grows once an epoch."""
        self.weight_of_first.fill_(self.omega * self.growth**epoch)

    def shares(self) -> Tensor:
        rest = self.weight_of_first.new_ones(len(self.members) - 1)
        return torch.cat([self.weight_of_first, rest]) / (self.weight_of_first + len(rest))

    def best(self) -> int:
        return 0
