"""Additive powers of two: levels that are sums of powers of two, each out of its own short menu."""

from itertools import product

import torch
from torch import Tensor

from twofold.train.quantizers.alpha import AlphaWeights
from twofold.train.quantizers.base import nearest, per_channel
from twofold.train.quantizers.digits import weight_bits
from twofold.train.quantizers.least_squares import l2_scales

#: Menus of the terms by bits, sign included, in LSBs; the largest level is the sum of the largest terms.
#: Source: build_power_value of the code of [APoT] (its B is one less), fractions times 4, 16, 64 and 128.
TERMS: dict[int, tuple[tuple[int, ...], ...]] = {
    2: ((0, 1),),
    3: ((0, 4, 2, 1),),
    4: ((0, 8, 4, 1), (0, 2)),
    5: ((0, 32, 8, 2), (0, 16, 4, 1)),
    6: ((0, 64, 16, 2), (0, 32, 8, 1), (0, 4)),
}
NORMALISATIONS = ("none", "deviation", "full")


def apot_levels(bits: int) -> tuple[int, ...]:
    """Magnitudes (LSBs), ascending."""
    return tuple(sorted({sum(terms) for terms in product(*TERMS[bits])}))


class APoTQuantizer(AlphaWeights, name="apot"):
    """Nearest level of an additive power-of-two set, with the reparametrised clipping function (RCF).

    ``alpha * Proj(clip(w / alpha, -1, 1))``; the gradient of alpha is the sign where w is clipped, and elsewhere
    ``Proj(w / alpha) - w / alpha``.

    Parameters
    ----------
    shape
        (M, N / groups, Kh, Kw) of the weights.
    bits
        2 to 6, sign included; 2 is uniform.
    normalise
        What alpha is relative to. ``none``: 1. ``deviation``: the standard deviation of the layer's weights. ``full``:
        that, and their mean is subtracted first: the paper's weight normalisation, up to the factor that goes to the
        layer's scale. It changes what the layer computes, which training must make good.
    alpha
        Its start; ``None``: that of least squared error. The source's is 3.
    clips
        No gradient reaches clipped weights (the authors' ImageNet code); otherwise all (their CIFAR code).

    Attributes
    ----------
    alpha : shape (1,)
        Clipping level, a parameter.

    Source: [APoT].
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        *,
        bits: int,
        normalise: str = "deviation",
        alpha: float | None = None,
        clips: bool = False,
    ):
        super().__init__(shape, alpha=3.0 if alpha is None else float(alpha))
        if normalise not in NORMALISATIONS:
            raise ValueError(f"Normalisation must be one of {NORMALISATIONS}, not {normalise!r}")
        if alpha is not None and alpha <= 0:
            raise ValueError(f"Alpha must be above 0, not {alpha!r}")
        self.final_bits = self.bits = weight_bits(bits, "APoT", 6)
        self.levels = apot_levels(bits)
        self.normalise, self.start, self.clips = normalise, alpha, clips

    @property
    def top(self) -> float:
        return float(self.levels[-1])

    @property
    def magnitudes(self) -> tuple[int, ...]:
        return self.levels

    @property
    def terms(self) -> tuple[tuple[int, ...], ...]:
        return TERMS[self.bits]

    def set_bits(self, least: int) -> bool:
        """As in the base, but that alpha stays and not the step, as the authors do."""
        self.bits = min(max(self.final_bits, least), max(TERMS))
        self.levels = apot_levels(self.bits)
        return True

    def integers(self, x: Tensor) -> Tensor:
        return torch.copysign(nearest(x.abs(), torch.tensor(self.levels).to(x)), x)

    def inside(self, x: Tensor) -> Tensor | None:
        return x.abs() <= self.top if self.clips else None

    def prepare(self, weight: Tensor) -> Tensor:
        return weight - weight.mean() if self.normalise == "full" else weight

    @torch.no_grad()
    def deviation(self, weight: Tensor) -> Tensor:
        """What alpha is relative to."""
        if self.normalise == "none" or weight.numel() == 1:
            return torch.ones(())
        return weight.std().clamp(min=1e-8)

    @torch.no_grad()
    def refresh(self, weight: Tensor) -> None:
        self.scale.copy_((self.alpha * self.deviation(weight) / self.top).expand(self.shape[0]))

    @torch.no_grad()
    def calibrate(self, weight: Tensor) -> None:
        """Start of alpha."""
        if self.start is None:
            scale = l2_scales(self.prepare(weight), self.integers, self.top, by_channel=False)[:1]
            self.alpha.copy_(scale * self.top / self.deviation(weight))
        else:
            self.alpha.fill_(self.start)
        self.refresh(weight)

    def forward(self, weight: Tensor) -> Tensor:
        out = super().forward(weight)
        if not self.enabled or not self.alpha.requires_grad or not self.training or self.frozen:
            return out
        with torch.no_grad():
            x = self.prepare(weight) / per_channel(self.scale)
            slope = torch.where(x.abs() > self.top, torch.sign(x), (self.integers(x) - x) / self.top)
            slope = slope * self.deviation(weight) * per_channel(self.gain)
        return out + (self.alpha - self.alpha.detach()) * slope
