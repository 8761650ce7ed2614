"""Power-of-two scales of least squared error ([PO2], MSQE-based class)."""

import torch
from torch import Tensor

from twofold.train.quantizers import po2
from twofold.train.quantizers.po2 import PowerQuantizer


class MSQEPowerQuantizer(PowerQuantizer, name="po2_msqe"):
    """Before every rounding in training, the exponent follows the weights: least squares, then a line search.

    Parameters
    ----------
    shape, bits, granularity, gradient_weight, outlier_mask, stable
        See `PowerQuantizer`.
    sigma
        Weights beyond so many standard deviations are outliers.
    steps, span
        Of `po2.least_squares` and `po2.line_search`.

    Source: quantized_bits_msqe_po2 of [QKeras].
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
        sigma: float = 2.0,
        steps: int = 3,
        span: int = 3,
    ):
        super().__init__(
            shape,
            bits=bits,
            granularity=granularity,
            gradient_weight=gradient_weight,
            outlier_mask=outlier_mask,
            stable=stable,
        )
        if sigma <= 0:
            raise ValueError(f"Sigma must be above 0, not {sigma!r}")
        if steps < 0 or span < 0:
            raise ValueError(f"Steps and span must be at least 0, not {steps!r} and {span!r}")
        self.sigma, self.steps, self.span = sigma, steps, span
        self.power: Tensor
        self.register_buffer("power", torch.zeros_like(self.mean_power))

    def initial(self, weight: Tensor) -> Tensor:
        """Exponent with which the largest weight is the largest level."""
        return po2.exponent(weight.abs().amax(self.over, keepdim=True) / self.top)

    @torch.no_grad()
    def refresh(self, weight: Tensor) -> None:
        """Search from the exponents as they are."""
        weight = weight / self.unit
        counts = self.error_weight(weight, po2.spread_mask(weight, self.sigma, self.over))
        found = po2.least_squares(weight, self.power, -self.top, self.top, counts, self.over, steps=self.steps)
        found = po2.line_search(weight, found, -self.top, self.top, counts, self.over, span=self.span)
        self.power.copy_(found)
        self.set_power(found)

    @torch.no_grad()
    def calibrate(self, weight: Tensor) -> None:
        """Search from the exponent of the range."""
        self.power.copy_(self.initial(weight / self.unit))
        self.refresh(weight)

    def forward(self, weight: Tensor) -> Tensor:
        return self.watch(weight, super().forward(weight))
