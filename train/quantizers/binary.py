"""Binary and ternary weights: one word a weight on any array."""

import torch
from torch import Tensor

from twofold.train.quantizers.base import LEAST_SCALE, per_channel
from twofold.train.quantizers.digits import DigitQuantizer
from twofold.train.quantizers.uniform import GRANULARITIES

#: TWN's threshold over the mean magnitude.
TERNARY_THRESHOLD = 0.7


class BinaryQuantizer(DigitQuantizer, name="binary"):
    """BWN: ``mean(|w|) * sign(w)``, the sign of 0 being +; filters of zeros stay zeros. In training the mean follows
    the weights.

    Parameters
    ----------
    shape
        (M, N / groups, Kh, Kw) of the weights.
    granularity
        ``layer`` ([DQA] eq. 14) or ``channel`` [XNOR-Net]: what shares a mean.

    Source: [XNOR-Net], section 3.1; [DQA] eq. 14.
    """

    learns_scale = False

    def __init__(self, shape: tuple[int, ...], *, granularity: str = "layer"):
        super().__init__(shape)
        if granularity not in GRANULARITIES:
            raise ValueError(f"Granularity must be one of {GRANULARITIES}, not {granularity!r}")
        self.bits, self.granularity = 1, granularity

    @property
    def top(self) -> float:
        return 1.0

    def integers(self, x: Tensor) -> Tensor:
        return torch.where(x >= 0, 1.0, -1.0).to(x)

    @torch.no_grad()
    def refresh(self, weight: Tensor) -> None:
        self.scale.copy_(positive(self.mean(weight.abs())))

    @torch.no_grad()
    def calibrate(self, weight: Tensor) -> None:
        """The mean magnitude."""
        self.refresh(weight)

    def mean(self, values: Tensor, chosen: Tensor | None = None) -> Tensor:
        """Mean over what shares a scale of the chosen values, 0 where there is none; shape (M,)."""
        chosen = torch.ones_like(values) if chosen is None else chosen.to(values)
        over = (0, 1, 2, 3) if self.granularity == "layer" else (1, 2, 3)
        return ((values * chosen).sum(over) / chosen.sum(over).clamp(min=1)).expand(self.shape[0])


class TernaryQuantizer(BinaryQuantizer, name="ternary"):
    """TWN: ``beta * sign(w)`` where ``|w| > delta = 0.7 * mean(|w|)``, else 0; beta is the mean magnitude beyond delta.

    Parameters
    ----------
    shape, granularity
        See `BinaryQuantizer`.

    Attributes
    ----------
    threshold : shape (M,)
        delta of each output channel (LSBs).

    Source: [TWN]; [DQA] eq. 15.
    """

    def __init__(self, shape: tuple[int, ...], *, granularity: str = "layer"):
        super().__init__(shape, granularity=granularity)
        self.bits = 2
        self.threshold: Tensor
        self.register_buffer("threshold", torch.full((shape[0],), 0.5))

    def integers(self, x: Tensor) -> Tensor:
        return torch.sign(x) * (x.abs() > per_channel(self.threshold)).to(x)

    @torch.no_grad()
    def refresh(self, weight: Tensor) -> None:
        size = weight.abs()
        delta = TERNARY_THRESHOLD * self.mean(size)
        self.scale.copy_(positive(self.mean(size, size > per_channel(delta))))
        self.threshold.copy_(delta / self.scale)


def positive(scale: Tensor) -> Tensor:
    """Scales, those of dead channels a small part of the largest instead of 0."""
    return scale.clamp(min=(float(scale.max()) or 1.0) * LEAST_SCALE)
