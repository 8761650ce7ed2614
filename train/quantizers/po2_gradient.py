"""Power-of-two scales that are learned ([PO2], gradient-based class), for weights and for activations."""

import numpy as np
import torch
from torch import Tensor, nn

from twofold.train.quantizers import po2
from twofold.train.quantizers.activation import ActivationQuantizer
from twofold.train.quantizers.base import per_channel
from twofold.train.quantizers.po2 import PowerQuantizer
from twofold.train.quantizers.rounding import round_clipped

ROUNDINGS = ("error", "up", "nearest")
#: Least scale of the start.
LEAST_START = 1e-5


class GradientPowerQuantizer(PowerQuantizer, name="po2_gradient"):
    """A real exponent is trained, and the scale is two to its rounding; straight-through, so that
    dscale / dexponent = scale * ln 2.

    Parameters
    ----------
    shape, bits, granularity, gradient_weight, outlier_mask, stable
        See `PowerQuantizer`.
    rounding
        Of the exponent. ``error``: down or up, to the lower error; ``up``; ``nearest``.
    switch
        Part of the training after which ``error`` sets in; until then ``up``.

    Attributes
    ----------
    power : shape (1, 1, 1, 1) or (M, 1, 1, 1)
        The real exponent, a parameter.

    Source: quantized_bits_learnable_po2 of [QKeras].
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        *,
        bits: int,
        granularity: str = "layer",
        gradient_weight: bool = True,
        outlier_mask: bool = True,
        stable: bool = False,
        rounding: str = "error",
        switch: float = 0.0,
    ):
        super().__init__(
            shape,
            bits=bits,
            granularity=granularity,
            gradient_weight=gradient_weight,
            outlier_mask=outlier_mask,
            stable=stable,
        )
        if rounding not in ROUNDINGS:
            raise ValueError(f"Rounding must be one of {ROUNDINGS}, not {rounding!r}")
        if not 0 <= switch <= 1:
            raise ValueError(f"Switch must be 0 to 1, not {switch!r}")
        self.rounding, self.switch = rounding, switch
        self.progress = 1.0
        self.power = nn.Parameter(torch.zeros_like(self.mean_power), requires_grad=False)

    def trained(self) -> list[nn.Parameter]:
        return [self.power] if self.learn else []

    def on_step(self, step: int, steps: int, epoch: int) -> None:
        self.progress = step / steps

    def initial(self, weight: Tensor) -> Tensor:
        """Exponent with which three standard deviations are the largest level."""
        deviation = weight.std(self.over, correction=0, keepdim=True)
        return torch.log2((3 * deviation / self.top).clamp(min=LEAST_START))

    @torch.no_grad()
    def rounded(self, weight: Tensor) -> Tensor:
        """The exponents as they are used."""
        if self.rounding == "nearest":
            return torch.round(self.power)
        if self.rounding == "up" or self.progress < self.switch:
            return torch.ceil(self.power)
        counts = self.error_weight(weight, po2.range_mask(weight, self.power, self.top))
        return po2.round_to_lower_error(weight, self.power, -self.top, self.top, counts, self.over)

    @torch.no_grad()
    def calibrate(self, weight: Tensor) -> None:
        """Start from three standard deviations."""
        weight = weight / self.unit
        self.power.copy_(self.initial(weight))
        self.set_power(self.rounded(weight))

    def forward(self, weight: Tensor) -> Tensor:
        if not self.enabled or not self.training or self.frozen:
            return super().forward(weight)
        rounded = self.rounded(weight / self.unit)
        self.set_power(rounded)
        scale = torch.exp2(rounded + (self.power - self.power.detach())) * self.unit
        return self.watch(weight, po2.fake(weight, scale, -self.top, self.top) * per_channel(self.gain))


class PowerActivation(ActivationQuantizer, name="po2"):
    """Linear activations whose scale is a power of two, its exponent trained.

    The error does not join in as it does for weights (the source weighs it element by element, and activations have no
    fixed elements): the exponent is rounded to the nearest. Its gradient is divided by the root of the number of
    activations times levels, as that of `ActivationQuantizer` is; the source is silent there.

    Parameters
    ----------
    bits, signed, calibration, limit, scale
        See `ActivationQuantizer`. Calibration takes the exponent next to its scale that has the smaller error
        (``max``: the one above).
    """

    power_scale = True

    def __init__(
        self,
        *,
        bits: int,
        signed: bool,
        calibration: str = "mse",
        limit: float | None = None,
        scale: float | None = None,
    ):
        super().__init__(bits=bits, signed=signed, calibration=calibration, limit=limit, scale=scale)
        if scale is not None and np.log2(scale) % 1:
            raise ValueError(f"Scale must be a power of two, not {scale!r}")
        self.power = nn.Parameter(torch.log2(self.scale.detach()), requires_grad=False)

    def trained(self) -> list[nn.Parameter]:
        return [self.power] if self.learn and not self.fixed else []

    def forward(self, x: Tensor) -> Tensor:
        if not self.enabled or not self.power.requires_grad or not self.training or self.frozen:
            return super().forward(x)
        with torch.no_grad():
            self.scale.copy_(torch.exp2(torch.round(self.power)))
        high = self.high
        power = torch.round(self.power.detach()) + (self.power - self.power.detach())
        return round_clipped(x, torch.exp2(power), self.low, high, share=self.share(x, high), slack=0.5)

    @torch.no_grad()
    def calibrate(self, x: Tensor) -> None:
        if self.fixed:
            return
        super().calibrate(x)
        real = torch.log2(self.scale)
        above = torch.ceil(real)
        if self.calibration == "max":
            power = above
        else:
            errors = []
            for candidate in (above, torch.floor(real)):
                scale = torch.exp2(candidate)
                errors.append(float(((po2.fake(x, scale, self.low, self.high) - x) ** 2).double().sum()))
            power = above if errors[0] <= errors[1] else torch.floor(real)
        self.power.copy_(power)
        self.scale.copy_(torch.exp2(power))

    @torch.no_grad()
    def set_bits(self, least: int) -> bool:
        """As in the base; the clipping level moves to the next power of two."""
        if not super().set_bits(least):
            return False
        self.power.copy_(torch.round(torch.log2(self.scale)))
        self.scale.copy_(torch.exp2(self.power))
        return True

    def after_step(self) -> None:
        """Nothing: a power of two is positive."""
