"""Quantizers whose largest level is trained, by itself or relative to a property of the numbers: `alpha`."""

import torch
from torch import Tensor, nn

from twofold.train.quantizers.activation import ActivationQuantizer
from twofold.train.quantizers.digits import DigitQuantizer

#: Training keeps alpha at least here.
LEAST_ALPHA = 1e-3


class AlphaWeights(DigitQuantizer):
    """Weights clipped at a level that alpha gives.

    Parameters
    ----------
    shape
        (M, N / groups, Kh, Kw) of the weights.
    alpha
        Where it starts.

    Attributes
    ----------
    alpha : shape (1,)
        A parameter on which weight decay acts.
    """

    decayed = True

    def __init__(self, shape: tuple[int, ...], *, alpha: float):
        super().__init__(shape)
        self.alpha = nn.Parameter(torch.tensor([alpha]), requires_grad=False)

    def trained(self) -> list[nn.Parameter]:
        return [self.alpha] if self.learn else []

    @torch.no_grad()
    def rescale(self, factor: Tensor, *, keep: bool = False) -> None:
        super().rescale(factor, keep=keep)
        if not keep:
            self.alpha.mul_(float(factor.mean()))

    @torch.no_grad()
    def after_step(self) -> None:
        """Keep alpha positive."""
        self.alpha.clamp_(min=LEAST_ALPHA)


class AlphaActivation(ActivationQuantizer):
    """Linear activations clipped at a level that alpha gives.

    Parameters
    ----------
    bits, signed, calibration, limit, scale
        See `ActivationQuantizer`.

    Attributes
    ----------
    alpha : shape (1,)
        A parameter on which weight decay acts.
    """

    decayed = True

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
        self.alpha = nn.Parameter(self.scale.detach() * self.levels_up, requires_grad=False)

    @property
    def levels_up(self) -> int:
        """Largest level of the format: alpha's, even where `limit` allows less."""
        return (1 << (self.bits - self.signed)) - 1

    def trained(self) -> list[nn.Parameter]:
        return [self.alpha] if self.learn and not self.fixed else []

    @property
    def clips_negatives(self) -> bool:
        return self.enabled and not self.signed

    @torch.no_grad()
    def after_step(self) -> None:
        """Keep alpha positive."""
        self.alpha.clamp_(min=LEAST_ALPHA)
