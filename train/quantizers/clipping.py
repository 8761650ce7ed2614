"""Linear activations whose clipping level is learned by itself (PACT) or follows the largest value (min-max)."""

import torch
from torch import Tensor, nn

from twofold.train.quantizers.activation import ActivationQuantizer
from twofold.train.quantizers.alpha import AlphaActivation
from twofold.train.quantizers.rounding import clip_rounded

#: Share of a new batch in the running maximum.
MOMENTUM = 0.01


class PactActivation(AlphaActivation, name="pact"):
    """``round(clip(x, 0, alpha) * L / alpha) * alpha / L``; the gradient of alpha is that of all clipped values.

    Parameters
    ----------
    bits, signed, calibration, limit, scale
        See `ActivationQuantizer`. The paper has unsigned activations; signed ones are clipped at the format's two ends.

    Attributes
    ----------
    alpha : shape (1,)
        Clipping level, a parameter on which weight decay acts.

    Source: [PACT], section 3.
    """

    @property
    def follows(self) -> bool:
        """Whether the scale follows a level that is being trained."""
        return self.enabled and self.alpha.requires_grad and self.training and not self.frozen

    @torch.no_grad()
    def follow(self) -> None:
        """Take the scale from the clipping level."""
        self.scale.copy_(self.alpha / self.levels_up)

    def forward(self, x: Tensor) -> Tensor:
        if not self.follows:
            return super().forward(x)
        self.follow()
        return clip_rounded(x, self.alpha, self.scale, self.low, self.high)

    @torch.no_grad()
    def calibrate(self, x: Tensor) -> None:
        super().calibrate(x)
        self.alpha.copy_(self.scale * self.levels_up)


class MinMaxActivation(ActivationQuantizer, name="minmax"):
    """The scale follows the largest magnitude: a running mean of that of each batch.

    The array's activations have no offset, so unsigned ones range from 0, and signed ones are symmetric.

    Parameters
    ----------
    bits, signed, limit, scale
        See `ActivationQuantizer`.

    Source: [DQA] eq. 10, for activations.
    """

    def __init__(
        self,
        *,
        bits: int,
        signed: bool,
        calibration: str = "max",
        limit: float | None = None,
        scale: float | None = None,
    ):
        if calibration not in ("max", "mse"):
            raise ValueError(f"Calibration must be one of ('max', 'mse'), not {calibration!r}")
        super().__init__(bits=bits, signed=signed, calibration="max", limit=limit, scale=scale)

    def trained(self) -> list[nn.Parameter]:
        """Nothing."""
        return []

    @property
    def clips_negatives(self) -> bool:
        return self.enabled and not self.signed

    @torch.no_grad()
    def observe(self, largest: Tensor, least: Tensor) -> None:
        """Let the scale follow the range of a batch, where it may."""
        if self.enabled and self.training and not self.frozen and not self.fixed:
            high = (1 << (self.bits - self.signed)) - 1
            largest, least = largest.to(self.scale.dtype), least.to(self.scale.dtype)
            now = torch.maximum(largest / high, least / self.low if self.signed else torch.zeros_like(largest))
            if now > 0:
                self.scale.mul_(1 - MOMENTUM).add_(now, alpha=MOMENTUM)

    def forward(self, x: Tensor) -> Tensor:
        if self.training and not self.frozen:
            self.observe(x.max(), x.min() if self.signed else x.new_zeros(()))
        return super().forward(x)
