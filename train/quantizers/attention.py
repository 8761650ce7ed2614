"""Quantization with attention [DQA]: a mixture whose shares are a softmax of trained numbers, cooled down."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from twofold.train.quantizers.mixture import ActivationMixture, Mixture, WeightMixture

#: Temperature at the start and at the end of the training ([DQA] section 4.1).
HOT, COLD = 100.0, 0.03
#: Standard deviation of alpha, as a part of its largest magnitude, below which the mean is taken out.
SMALL_SPREAD = 1e-2


def temperature(step: int, steps: int, hot: float = HOT, cold: float = COLD) -> float:
    """``T(b) = hot * (cold / hot)**(b / B)``; batches b are 1 to B (eq. 5 and algorithm 1)."""
    return hot * (cold / hot) ** ((step + 1) / steps)


def initial_attention(bits: Sequence[int]) -> Tensor:
    """Start of alpha: for each member, the share of the others' bits in all (eq. 7)."""
    total = sum(bits)
    return torch.tensor([(total - own) / total for own in bits])


def penalties(bits: Sequence[int], asked: Sequence[float] | None) -> Tensor:
    """Penalty of each member: as asked, or 1, 4, 16 and so on with ascending bits ([DQA] section 4.1)."""
    if asked is None:
        order = sorted(range(len(bits)), key=lambda k: bits[k])
        return torch.tensor([4.0 ** order.index(k) for k in range(len(bits))])
    if len(asked) != len(bits):
        raise ValueError(f"Penalties must be {len(bits)} numbers, not {tuple(asked)!r}")
    return torch.tensor([float(g) for g in asked])


class Attention(Mixture):
    """The shares ``softmax(alpha / T)``, alpha being divided by its standard deviation (unbiased) before each step.

    Attributes
    ----------
    alpha : shape (K,)
        Attention, a parameter.
    heat : shape (1,)
        T.
    """

    alpha: nn.Parameter
    heat: Tensor
    hot: float
    cold: float
    costs: Tensor
    strength: float
    network_weights: int

    def attend(
        self, bits: Sequence[int], hot: float, cold: float, strength: float, costs: Sequence[float] | None
    ) -> None:
        """Set up; `self` is a module by now."""
        if not 0 < cold <= hot:
            raise ValueError(f"Temperatures must fall to above 0, not go from {hot!r} to {cold!r}")
        if strength < 0:
            raise ValueError(f"Strength must be at least 0, not {strength!r}")
        self.hot, self.cold, self.strength = hot, cold, strength
        self.alpha = nn.Parameter(initial_attention(bits), requires_grad=False)
        self.register_buffer("costs", penalties(bits, costs), persistent=False)
        self.register_buffer("heat", torch.full((1,), float(hot)))

    def trained(self) -> list[nn.Parameter]:
        """Alpha, always: without it there is no method."""
        return [self.alpha]

    @torch.no_grad()
    def on_step(self, step: int, steps: int, epoch: int) -> None:
        """Cool down and normalise."""
        if self.mixed:
            self.heat.fill_(temperature(step, steps, self.hot, self.cold))
            spread = self.alpha.std()
            if spread > 0:
                # Shares do not depend on the mean; where members begin alike, it would swamp what tells them apart.
                if spread < SMALL_SPREAD * self.alpha.abs().max():
                    self.alpha.sub_(self.alpha.mean())
                self.alpha.div_(spread)

    def shares(self) -> Tensor:
        return torch.softmax(self.alpha / self.heat, 0)

    def best(self) -> int:
        return int(self.alpha.argmax())

    def penalty(self) -> Tensor | None:
        """``strength * g . a / S``, S being the number of weights of the network (eq. 6)."""
        if not self.mixed or not self.strength:
            return None
        return self.strength * (self.costs * self.shares()).sum() / self.network_weights

    def metrics(self) -> dict[str, tuple[float, float]]:
        """``attention0`` and so on: mean share of each member over the layers."""
        left = int(self.choice)
        shares = self.shares().tolist() if self.mixed else [float(k == left) for k in range(len(self.alpha))]
        return {f"attention{k}": (share, 1.0) for k, share in enumerate(shares)}


class AttentionQuantizer(Attention, WeightMixture, name="attention"):
    """Weights as a mixture of any quantizers, which ends in exactly one.

    Parameters
    ----------
    shape
        (M, N / groups, Kh, Kw) of the weights.
    members
        Tables as a recipe has them for weights: ``quantizer`` and its options; also ``{ quantizer = "float" }``.
    hot, cold
        Temperatures at the start and at the end.
    strength
        Lambda of eq. 6. It is multiplied by `TrainSettings.penalty` as all penalties are: that be 1.
    costs
        g of eq. 6, one number a member.

    Source: [DQA], eq. 1 to 7 and algorithm 1. The standard deviation is the unbiased one;
    what is left is the member of largest alpha.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        *,
        members: Sequence[Mapping[str, Any]],
        hot: float = HOT,
        cold: float = COLD,
        strength: float = 0.0,
        costs: Sequence[float] | None = None,
    ):
        super().__init__(shape, members)
        self.attend([member.bits for member in self.parts], hot, cold, strength, costs)


class AttentionActivation(Attention, ActivationMixture, name="attention"):
    """Activations as a mixture of one kind of quantizer with different bits, which ends in exactly one.

    Parameters
    ----------
    bits, signed, calibration, limit, scale
        See `ActivationQuantizer`; `bits` are those of the first member.
    member
        Name of the members' quantizer.
    more_bits
        Bits of the other members.
    hot, cold, strength, costs
        See `AttentionQuantizer`.
    """

    def __init__(
        self,
        *,
        bits: int,
        signed: bool,
        calibration: str = "mse",
        limit: float | None = None,
        scale: float | None = None,
        member: str = "minmax",
        more_bits: Sequence[int] = (4, 8),
        hot: float = HOT,
        cold: float = COLD,
        strength: float = 0.0,
        costs: Sequence[float] | None = None,
    ):
        super().__init__(
            bits=bits,
            signed=signed,
            calibration=calibration,
            limit=limit,
            scale=scale,
            member=member,
            more_bits=more_bits,
        )
        self.attend((bits, *more_bits), hot, cold, strength, costs)
