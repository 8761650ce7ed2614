"""Several quantizers at once, mixed with shares that move to a single one: what papers' relaxations have in common."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from twofold.golden.formats import WeightFormat
from twofold.train.quantizers.activation import ActivationQuantizer, build_activation
from twofold.train.quantizers.base import CodedWeights, WeightQuantizer, build_quantizer
from twofold.train.quantizers.blend import blend_rounded
from twofold.train.quantizers.clipping import MinMaxActivation, PactActivation

#: Bits that the member ``float`` counts for.
FLOAT_BITS = 32


class FloatQuantizer(WeightQuantizer):
    """The weights as they are: a member of mixtures, which cannot be exported."""

    def __init__(self, shape: tuple[int, ...]):
        super().__init__(shape)
        self.bits = FLOAT_BITS

    @property
    def top(self) -> float:
        return float("inf")

    def forward(self, weight: Tensor) -> Tensor:
        return weight

    def calibrate(self, weight: Tensor) -> None:
        """Nothing."""

    def encode(self, weight: Tensor, fmt: WeightFormat) -> CodedWeights:
        raise ValueError("Quantizer must not be 'float' at export: the mixture ended in it")


class Mixture(nn.Module):
    """Shares of members, and the one that is left: the part that weights and activations have in common.

    Attributes
    ----------
    members
        The quantizers.
    choice : int64, shape (1,)
        Member that is left, or -1 while they are mixed.
    """

    members: nn.ModuleList
    choice: Tensor

    @property
    def parts(self) -> list[Any]:
        """The members, as a list."""
        return list(self.members)

    def shares(self) -> Tensor:
        """Share of each member, shape (K,), differentiable."""
        raise NotImplementedError

    def best(self) -> int:
        """Member that would be left now."""
        raise NotImplementedError

    @property
    def chosen(self) -> Any:
        """The member that is left, or would be."""
        left = int(self.choice)
        return self.parts[left if left >= 0 else self.best()]

    @property
    def mixed(self) -> bool:
        """Whether several members still have a share."""
        return int(self.choice) < 0

    def mix(self, x: Tensor) -> Tensor:
        """Sum of what the members give, each times its share."""
        if not self.mixed:
            return self.chosen(x)
        shares = self.shares()
        return sum((share * member(x) for share, member in zip(shares, self.members, strict=True)), x.new_zeros(()))


class WeightMixture(Mixture, WeightQuantizer):
    """Mixture of weight quantizers; scale, gain and codes are those of the one that is left."""

    def __init__(self, shape: tuple[int, ...], members: Sequence[Mapping[str, Any]]):
        super().__init__(shape)
        self.members = nn.ModuleList(build_members(shape, members))
        self.register_buffer("choice", torch.full((1,), -1))

    def _make_scale(self) -> None:
        """The members have theirs."""

    @property
    def scale(self) -> nn.Parameter:  # type: ignore[override]
        return self.chosen.scale

    @property
    def gain(self) -> Tensor:
        return self.chosen.gain

    @gain.setter
    def gain(self, value: Tensor) -> None:
        self.chosen.gain = value

    @property
    def top(self) -> float:
        return self.chosen.top

    def integers(self, x: Tensor) -> Tensor:
        return self.chosen.integers(x)

    def calibrate(self, weight: Tensor) -> None:
        for member in self.parts:
            member.calibrate(weight)

    def trained(self) -> list[nn.Parameter]:
        """Members are quantizers of the model too, and state theirs."""
        return []

    def forward(self, weight: Tensor) -> Tensor:
        return self.mix(weight) if self.enabled else weight

    def rescale(self, factor: Tensor, *, keep: bool = False) -> None:
        self.chosen.rescale(factor, keep=keep)

    def finish(self) -> None:
        """Only the best member is left."""
        super().finish()
        if self.mixed:
            self.choice.fill_(self.best())

    def check_format(self, fmt: WeightFormat) -> None:
        for member in self.parts:
            member.check_format(fmt)

    def encode(self, weight: Tensor, fmt: WeightFormat) -> CodedWeights:
        if self.mixed:
            raise ValueError("Mixture must be one quantizer at export: call finish() first, not before training ends")
        return self.chosen.encode(weight, fmt)


def build_members(shape: tuple[int, ...], members: Sequence[Mapping[str, Any]]) -> list[WeightQuantizer]:
    """Weight quantizers of a mixture's table in a recipe.

    Raises
    ------
    ValueError
        If there are fewer than two, or one is impossible.
    """
    if len(members) < 2:
        raise ValueError(f"Mixture must have at least two members, not {len(members)!r}")
    built: list[WeightQuantizer] = []
    for member in members:
        options = dict(member)
        if "quantizer" not in options:
            raise ValueError(f"Member must name its quantizer, not {dict(member)!r}")
        name, learn = options.pop("quantizer"), options.pop("learn", False)
        quantizer = FloatQuantizer(shape) if name == "float" else build_quantizer(name, shape, **options)
        if isinstance(quantizer, WeightMixture):
            raise ValueError(f"Member must be a quantizer, not the mixture {name!r}")
        quantizer.learn = learn
        built.append(quantizer)
    return built


class ActivationMixture(Mixture, ActivationQuantizer):
    """Mixture of activation quantizers of different bits; format and scale are those of the one that is left."""

    def __init__(
        self,
        *,
        bits: int,
        signed: bool,
        calibration: str,
        limit: float | None,
        scale: float | None,
        member: str,
        more_bits: Sequence[int],
    ):
        nn.Module.__init__(self)
        if not more_bits:
            raise ValueError(f"Mixture must have at least two members, not {len(more_bits) + 1!r}")
        self.enabled, self.learn, self.frozen = True, False, False
        self.network_weights = 1
        self.signed, self.calibration, self.limit, self.fixed = signed, calibration, limit, scale is not None
        common: dict[str, Any] = {"signed": signed, "calibration": calibration, "limit": limit, "scale": scale}
        self.members = nn.ModuleList(build_activation(member, bits=count, **common) for count in (bits, *more_bits))
        if any(isinstance(part, ActivationMixture) for part in self.members):
            raise ValueError(f"Member must be a quantizer, not the mixture {member!r}")
        for part in self.parts:
            part.learn = True
        self.register_buffer("choice", torch.full((1,), -1))

    @property
    def scale(self) -> nn.Parameter:  # type: ignore[override]
        return self.chosen.scale

    @property
    def bits(self) -> int:  # type: ignore[override]
        return self.chosen.bits

    @property
    def low(self) -> int:
        return self.chosen.low

    @property
    def high(self) -> int:
        return self.chosen.high

    def trained(self) -> list[nn.Parameter]:
        """Members are quantizers of the model too, and state theirs."""
        return []

    @property
    def clips_negatives(self) -> bool:
        return self.enabled and all(part.clips_negatives for part in self.parts)

    def mix(self, x: Tensor) -> Tensor:
        """As `Mixture.mix`, in one pass where the members are of a kind for which there is one."""
        parts = self.parts
        if not self.mixed or not self.training:
            return super().mix(x)
        levels = None
        if all(type(part) is PactActivation and part.follows for part in parts):
            for part in parts:
                part.follow()
            levels = torch.cat([part.alpha for part in parts])
        elif all(type(part) is MinMaxActivation and part.enabled for part in parts):
            largest, least = x.detach().max(), x.detach().min() if self.signed else x.new_zeros(())
            for part in parts:
                part.observe(largest, least)
        else:
            return super().mix(x)
        scales = torch.cat([part.scale.detach() for part in parts])
        return blend_rounded(x, self.shares(), scales, [(part.low, part.high) for part in parts], levels)

    def set_bits(self, least: int) -> bool:
        return False

    def calibrate(self, x: Tensor) -> None:
        for member in self.parts:
            member.calibrate(x)

    def forward(self, x: Tensor) -> Tensor:
        return self.mix(x) if self.enabled else x

    def after_step(self) -> None:
        """Nothing of its own."""

    def finish(self) -> None:
        """Only the best member is left."""
        super().finish()
        if self.mixed:
            self.choice.fill_(self.best())
