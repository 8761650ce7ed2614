"""Standard-deviation quantization [Sigma]: clipping at a learned multiple of the standard deviation.

``alpha * sigma`` is the largest level, alpha trained and sigma a property of the numbers. The gradient of alpha is
``s * sigma * sign(x) * g`` summed over what is clipped, s being the gradient scale; weight decay acts on alpha once a
step, as it is in the group of the weights. Sigma is a constant for the gradient.
"""

import math

import torch
from torch import Tensor

from twofold.train.quantizers.activation import sample
from twofold.train.quantizers.alpha import AlphaActivation, AlphaWeights
from twofold.train.quantizers.base import per_channel
from twofold.train.quantizers.digits import weight_bits
from twofold.train.quantizers.least_squares import l2_scales
from twofold.train.quantizers.rounding import clip_rounded

#: Gradient scale by bits for ResNet-20; more bits take that of 5 ([Sigma] section 5.1).
GRADIENT_SCALES = {2: 0.01, 3: 0.1, 4: 1.0, 5: 1.0}
#: Of the running standard deviation of activations ([Sigma] eq. 3).
MOMENTUM = 0.001
LEVELS = ("uniform", "log")


def gradient_scale(bits: int) -> float:
    """The paper's gradient scale."""
    return GRADIENT_SCALES[min(bits, max(GRADIENT_SCALES))]


def weight_deviation(weight: Tensor) -> Tensor:
    """Root mean square: the standard deviation, the mean being taken as 0 ([Sigma] section 2)."""
    return weight.square().mean().sqrt()


def activation_deviation(x: Tensor, signed: bool) -> Tensor:
    """Of the positive values and their mirror image, whose mean is 0; of all values where they are signed."""
    flat = x.reshape(-1)
    if signed:
        return (torch.dot(flat, flat) / len(flat)).sqrt()
    flat = flat.clamp(min=0)
    return (torch.dot(flat, flat) / flat.count_nonzero().clamp(min=1)).sqrt()


class SigmaQuantizer(AlphaWeights, name="sigma"):
    """Weights with ``L + 1`` magnitudes up to ``alpha * sigma``.

    Uniform: ``round(w L / (alpha sigma))``, L = ``2**(bits-1) - 1``. Log: ``round(log2(|w| L / (alpha sigma)))``, L =
    ``2**(2**(bits-1) - 2)``, 0 where that is negative: the log word of so many bits.

    Parameters
    ----------
    shape
        (M, N / groups, Kh, Kw) of the weights.
    bits
        2 to 8, log 2 to 5.
    levels
        ``uniform`` or ``log``.
    gradient_scale
        s of eq. 8; ``None``: the paper's for so many bits.
    rescale
        With other bits, alpha keeps the step (eq. 11); without, it keeps the clipping level.

    Attributes
    ----------
    alpha : shape (1,)
        Clipping level in standard deviations, a parameter. It starts at least squared error.

    Source: [Sigma], eq. 1 to 11.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        *,
        bits: int,
        levels: str = "uniform",
        gradient_scale: float | None = None,
        rescale: bool = True,
    ):
        super().__init__(shape, alpha=3.0)
        if levels not in LEVELS:
            raise ValueError(f"Levels must be one of {LEVELS}, not {levels!r}")
        if gradient_scale is not None and gradient_scale < 0:
            raise ValueError(f"Gradient scale must be at least 0, not {gradient_scale!r}")
        self.levels, self.asked_scale, self.rescales = levels, gradient_scale, rescale
        self.final_bits = weight_bits(bits, "Sigma", 5 if levels == "log" else 8)
        self.bits = self.final_bits

    @property
    def top(self) -> float:
        return float(1 << ((1 << (self.bits - 1)) - 2) if self.levels == "log" else (1 << (self.bits - 1)) - 1)

    @property
    def magnitudes(self) -> tuple[int, ...]:
        if self.levels == "uniform":
            return ()
        return (0, *(1 << power for power in range(int(self.top).bit_length())))

    @property
    def gradient_scale(self) -> float:
        """s of eq. 8."""
        return gradient_scale(self.bits) if self.asked_scale is None else self.asked_scale

    def integers(self, x: Tensor) -> Tensor:
        if self.levels == "uniform":
            return torch.round(x).clamp(-self.top, self.top)
        power = torch.round(torch.log2(x.abs().clamp(min=1e-30)))
        size = torch.exp2(power.clamp(0, math.log2(self.top)))
        return torch.sign(x) * torch.where(power < 0, torch.zeros_like(size), size)

    def inside(self, x: Tensor) -> Tensor:
        return x.abs() < self.top

    @torch.no_grad()
    def refresh(self, weight: Tensor) -> None:
        scale = (self.alpha * weight_deviation(weight) / self.top).clamp(min=1e-12)
        self.scale.copy_(scale.expand(self.shape[0]))

    @torch.no_grad()
    def calibrate(self, weight: Tensor) -> None:
        """Alpha of least squared error."""
        scale = l2_scales(weight, self.integers, self.top, by_channel=False)[:1]
        deviation = weight_deviation(weight)
        self.alpha.copy_(scale * self.top / deviation if deviation > 0 else torch.ones(1))
        self.refresh(weight)

    def forward(self, weight: Tensor) -> Tensor:
        out = super().forward(weight)
        if not self.enabled or not self.alpha.requires_grad or not self.training or self.frozen:
            return out
        with torch.no_grad():
            clipped = weight.abs() >= per_channel(self.scale * self.top)
            slope = torch.sign(weight) * clipped * (self.gradient_scale * weight_deviation(weight))
            slope = slope * per_channel(self.gain)
        return out + (self.alpha - self.alpha.detach()) * slope

    @torch.no_grad()
    def set_bits(self, least: int) -> bool:
        """Have the final bits or, if these are fewer, `least`; alpha keeps the step (eq. 11), or stays."""
        before = self.top
        self.bits = max(self.final_bits, least)
        if self.rescales:
            self.alpha.mul_(self.top / before)
        return True


class SigmaActivation(AlphaActivation, name="sigma"):
    """Activations clipped at ``alpha * sigma``, sigma a running mean over the batches.

    With other bits alpha stays: re-scaling is for weights ([Sigma] section 5.6).

    Parameters
    ----------
    bits, signed, calibration, limit, scale
        See `ActivationQuantizer`; alpha starts where its calibration puts the clipping level.
    gradient_scale
        s of eq. 8; the paper's is 1 for activations.

    Attributes
    ----------
    alpha : shape (1,)
        Clipping level in standard deviations, a parameter.
    sigma : shape (1,)
        Running standard deviation (`activation_deviation`).
    """

    def __init__(
        self,
        *,
        bits: int,
        signed: bool,
        calibration: str = "mse",
        limit: float | None = None,
        scale: float | None = None,
        gradient_scale: float = 1.0,
    ):
        super().__init__(bits=bits, signed=signed, calibration=calibration, limit=limit, scale=scale)
        if gradient_scale < 0:
            raise ValueError(f"Gradient scale must be at least 0, not {gradient_scale!r}")
        self.gradient_scale = gradient_scale
        torch.nn.init.ones_(self.alpha)
        self.sigma: Tensor
        self.register_buffer("sigma", torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        if not self.enabled or not self.training or self.frozen or self.fixed:
            return super().forward(x)
        with torch.no_grad():
            # Of some values, where there are many: as good for a running mean, and a pass over memory less.
            now = activation_deviation(sample(x.detach()).to(self.sigma.dtype), self.signed)
            self.sigma.mul_(1 - MOMENTUM).add_(now, alpha=MOMENTUM)
            self.scale.copy_((self.alpha * self.sigma / self.levels_up).clamp(min=1e-12))
        factor = self.gradient_scale * self.sigma
        return clip_rounded(x, self.alpha, self.scale, self.low, self.high, factor=factor)

    @torch.no_grad()
    def calibrate(self, x: Tensor) -> None:
        """Sigma of these values, and alpha by the scale of `ActivationQuantizer`."""
        if self.fixed:
            return
        super().calibrate(x)
        deviation = activation_deviation(x.to(self.sigma.dtype), self.signed)
        self.sigma.copy_(deviation if deviation > 0 else torch.ones(1))
        self.alpha.copy_(self.scale * self.levels_up / self.sigma)
