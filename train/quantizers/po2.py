"""Power-of-two scales [PO2]: the error, its minimum over exponents, and the masks that weight it.

Every function takes ``over``, the dimensions that share a scale; results keep them with size 1.

Source: [QKeras], quantizers_po2.py.
"""

import math

import torch
from torch import Tensor

from twofold.train.quantizers.base import WeightQuantizer
from twofold.train.quantizers.digits import DigitQuantizer, weight_bits

#: Added before logarithms and to divisors, as in the source.
EPSILON = 1e-7
#: Decays of the running mean of squared gradients and of the running mean of exponents.
GRADIENT_DECAY, STABLE_DECAY = 0.999, 0.99
GRANULARITIES = ("layer", "channel")
Over = tuple[int, ...]


def exponent(scale: Tensor) -> Tensor:
    """Exponent of the power of two nearest to a scale, in the logarithm."""
    return torch.round(torch.log2(scale + EPSILON))


def levels(x: Tensor, scale: Tensor, low: float, high: float) -> Tensor:
    """Integers of the numbers."""
    return torch.round(x / scale).clamp(low, high)


def fake(x: Tensor, scale: Tensor, low: float, high: float) -> Tensor:
    """``scale * clip(rint(x / scale))``, straight-through in the rounding alone: differentiable in both arguments."""
    y = x / scale
    return scale * (y + (torch.round(y) - y).detach()).clamp(low, high)


def clip_mask(x: Tensor, scale: Tensor, low: float, high: float) -> Tensor:
    """1 where a number is rounded within the range, else 0."""
    y = torch.round(x / scale)
    return ((y >= low) & (y <= high)).to(x)


def spread_mask(x: Tensor, sigma: float, over: Over) -> Tensor:
    """1 up to `sigma` standard deviations (of the population), else 0; the mean is not subtracted."""
    deviation = x.std(over, correction=0, keepdim=True)
    return (x.abs() <= sigma * deviation).to(x)


def range_mask(x: Tensor, real: Tensor, high: float) -> Tensor:
    """1 where a number is within the range of the real, not yet rounded, exponent; else 0."""
    return (x.abs() <= torch.exp2(real) * (high + 0.5)).to(x)


def squared_error(x: Tensor, exponents: Tensor, low: float, high: float, weight: Tensor, over: Over) -> Tensor:
    """MSQE, in fact a sum: of ``weight * (x - quantized x)**2``."""
    scale = torch.exp2(exponents)
    return (weight * (x - scale * levels(x, scale, low, high)) ** 2).sum(over, keepdim=True)


def least_squares(
    x: Tensor, start: Tensor, low: float, high: float, weight: Tensor, over: Over, *, steps: int = 3
) -> Tensor:
    """Best of the exponents that alternating least squares passes through; `start` wins a tie."""
    best, least = start, squared_error(x, start, low, high, weight, over)
    q = levels(x, torch.exp2(start), low, high)
    for _ in range(steps):
        fit = (weight * q * x).sum(over, keepdim=True) / ((weight * q * q).sum(over, keepdim=True) + EPSILON)
        found = exponent(fit)
        q = levels(x, torch.exp2(found), low, high)
        best, least = _better(x, found, best, least, low, high, weight, over)
    return best


def line_search(
    x: Tensor, start: Tensor, low: float, high: float, weight: Tensor, over: Over, *, span: int = 3
) -> Tensor:
    """Best of the exponents within `span` of the start; the start, then the smaller, wins a tie."""
    best, least = start, squared_error(x, start, low, high, weight, over)
    for step in range(-span, span + 1):
        if step:
            best, least = _better(x, start + step, best, least, low, high, weight, over)
    return best


def _better(
    x: Tensor, found: Tensor, best: Tensor, least: Tensor, low: float, high: float, weight: Tensor, over: Over
) -> tuple[Tensor, Tensor]:
    error = squared_error(x, found, low, high, weight, over)
    return torch.where(error < least, found, best), torch.minimum(error, least)


def round_to_lower_error(x: Tensor, real: Tensor, low: float, high: float, weight: Tensor, over: Over) -> Tensor:
    """Floor or ceiling of real exponents, whichever has the smaller error; the ceiling wins a tie."""
    below, above = torch.floor(real), torch.ceil(real)
    lower = squared_error(x, below, low, high, weight, over) < squared_error(x, above, low, high, weight, over)
    return torch.where(lower, below, above)


class PowerQuantizer(DigitQuantizer):
    """Uniform symmetric weights whose scale is a power of two: base of both classes of [PO2].

    Parameters
    ----------
    shape
        (M, N / groups, Kh, Kw) of the weights.
    bits
        2 to 8.
    granularity
        ``layer`` (the paper's) or ``channel``: what shares a scale.
    gradient_weight
        Weight the error by the root mean square of the gradients that each weight has received.
    outlier_mask
        Leave outliers out of the error.
    stable
        Keep a running mean of the exponents; when training settles, its rounding is the exponent.

    Attributes
    ----------
    power : shape of `mean_power`
        Exponent of the scale.
    unit : shape (1,)
        The scale is so many times a power of two: 1, unless the layer reads an input whose scale is none. Then it
        makes the product of the two scales a power of two: the input's factor goes into the weights.
    energy : shape (M, N / groups, Kh, Kw), where `gradient_weight`
        Running mean of squared gradients.
    mean_power : shape (1, 1, 1, 1) or (M, 1, 1, 1)
        Running mean of the exponents.
    """

    learns_scale = False
    power_scales = True

    def __init__(
        self,
        shape: tuple[int, ...],
        *,
        bits: int,
        granularity: str = "layer",
        gradient_weight: bool = True,
        outlier_mask: bool = True,
        stable: bool = False,
    ):
        super().__init__(shape)
        if granularity not in GRANULARITIES:
            raise ValueError(f"Granularity must be one of {GRANULARITIES}, not {granularity!r}")
        self.bits = weight_bits(bits, "Power-of-two")
        self.gradient_weight, self.outlier_mask, self.stable = gradient_weight, outlier_mask, stable
        self.over: Over = (0, 1, 2, 3) if granularity == "layer" else (1, 2, 3)
        groups = (1 if granularity == "layer" else shape[0], 1, 1, 1)
        self.energy: Tensor
        self.mean_power: Tensor
        self.started: Tensor
        self.unit: Tensor
        self.register_buffer("unit", torch.ones(1))
        self.register_buffer("energy", torch.ones(shape if gradient_weight else (1, 1, 1, 1)))
        self.register_buffer("mean_power", torch.zeros(groups))
        self.register_buffer("started", torch.zeros(1, dtype=torch.bool))

    @property
    def top(self) -> float:
        return float((1 << (self.bits - 1)) - 1)

    def integers(self, x: Tensor) -> Tensor:
        return torch.round(x).clamp(-self.top, self.top)

    def inside(self, x: Tensor) -> Tensor:
        return torch.round(x).abs() <= self.top

    def error_weight(self, weight: Tensor, mask: Tensor) -> Tensor:
        """What each weight's squared error counts."""
        if self.gradient_weight:
            mask = mask * self.energy.sqrt() if self.outlier_mask else self.energy.sqrt()
        elif not self.outlier_mask:
            mask = torch.ones_like(weight)
        return mask

    @torch.no_grad()
    def read_scale(self, scale: float) -> None:
        """Set the unit, so that its product with that scale is a power of two."""
        self.unit.fill_(2.0 ** round(math.log2(scale)) / scale)

    @torch.no_grad()
    def set_power(self, power: Tensor) -> None:
        """Take these exponents, and let the running mean follow in training."""
        self.scale.copy_((torch.exp2(power).flatten() * self.unit).expand(self.shape[0]))
        if not self.stable or not self.training:
            return
        if not bool(self.started):
            self.mean_power.copy_(power)
            self.started.fill_(True)
        else:
            self.mean_power.mul_(STABLE_DECAY).add_(power, alpha=1 - STABLE_DECAY)

    @torch.no_grad()
    def observe(self, weight: Tensor, gradient: Tensor) -> None:
        """Take the gradient of the quantized weights into the running mean."""
        scale = self.scale.view(-1, 1, 1, 1)
        mask = clip_mask(weight, scale, -self.top, self.top)
        self.energy.mul_(GRADIENT_DECAY).add_(mask * gradient**2, alpha=1 - GRADIENT_DECAY)

    def watch(self, weight: Tensor, out: Tensor) -> Tensor:
        """The same tensor, whose gradient will be observed."""
        if self.gradient_weight and self.training and not self.frozen and out.requires_grad:
            source = weight.detach()
            out.register_hook(lambda gradient: self.observe(source, gradient))
        return out

    @torch.no_grad()
    def rescale(self, factor: Tensor, *, keep: bool = False) -> None:
        """Scales stay what they are: only the power of two nearest to each factor is taken, 1 as a rule."""
        super().rescale(torch.exp2(torch.round(torch.log2(factor))), keep=keep)

    @torch.no_grad()
    def finish(self) -> None:
        """With `stable`, the exponents become the rounded running mean."""
        if self.stable and not self.frozen and bool(self.started):
            power = torch.round(self.mean_power).flatten()
            self.scale.copy_((torch.exp2(power) * self.unit).expand(self.shape[0]))
        WeightQuantizer.finish(self)
