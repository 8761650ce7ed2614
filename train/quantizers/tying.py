"""Scales of tensors along a residual stream: chosen together so that they differ by powers of two.

What a choice costs is the sum over the tensors of the squared error of quantization as a part of the squared values.
The base, one real number, and a power of two for each tensor are searched for the least.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from twofold.train.quantizers.activation import ActivationQuantizer, sample

#: Steps of an octave that the base is searched at; then between the neighbours of the best, in so many parts of a step.
STEPS, PARTS = 32, 8


@dataclass(frozen=True, eq=False)
class Member:
    """A tensor of a stream.

    Parameters
    ----------
    quantizer
        Tied; its scale is what it would have by itself.
    values : shape (N,)
        Of the tensor, not quantized: `sample`.
    """

    quantizer: ActivationQuantizer
    values: Tensor

    @classmethod
    def of(cls, quantizer: ActivationQuantizer, x: Tensor) -> "Member":
        """The member of that quantizer; `x` holds the tensor's values, of any shape."""
        x = x.detach()
        return cls(quantizer, sample(x if quantizer.limit is None else x.clamp(max=quantizer.limit)))

    def error(self, scale: float) -> float:
        """Mean squared error of quantization with that scale."""
        scale, low, high = self.quantizer.format_at(scale)
        rounded = (self.values / scale).round_().clamp_(low, high).mul_(scale)
        return float(rounded.sub_(self.values).square_().mean())

    def best(self, base: float) -> tuple[float, int]:
        """Least error as a part of the mean square, and the power of two times the base that has it.

        Around the scale that it has by itself; where the whole range must fit, not below it.
        """
        own = math.log2(float(self.quantizer.scale) / base)
        above = math.ceil(own - 1e-6)
        octaves = (above,) if self.quantizer.calibration == "max" else (above - 1, above)
        return min((self.error(base * 2.0**octave), octave) for octave in octaves)


@torch.no_grad()
def tie(stream_base: Tensor, members: Sequence[Member]) -> None:
    """Choose base and octaves of one stream, and write down what they cost (`ActivationQuantizer.tie_cost`)."""
    base = next((float(m.quantizer.scale) for m in members if m.quantizer.fixed), None) or _base(members)
    free = [(float(member.quantizer.scale), member.error(float(member.quantizer.scale))) for member in members]
    octaves = [0 if member.quantizer.fixed else member.best(base)[1] for member in members]
    # The largest scale has octave 0, so that the coarsest tensors say most of how the base is trained.
    top = 0 if any(member.quantizer.fixed for member in members) else max(octaves)
    stream_base.fill_(base * 2.0**top)
    for member, octave, (scale, error) in zip(members, octaves, free, strict=True):
        quantizer = member.quantizer
        quantizer.octave = octave - top
        quantizer.follow()
        tied = float(quantizer.scale)
        quantizer.tie_cost.copy_(torch.tensor([scale, error, tied, member.error(tied)]))


def _base(members: Sequence[Member]) -> float:
    """The base between 1 and 2 of least cost."""
    powers = [float(member.values.square().mean()) or 1.0 for member in members]

    def cost(place: float) -> tuple[float, float]:
        base = 2.0**place
        return sum(member.best(base)[0] / power for member, power in zip(members, powers, strict=True)), place

    _, place = min(cost(step / STEPS) for step in range(STEPS))
    _, place = min(cost(place + part / (STEPS * PARTS)) for part in range(1 - PARTS, PARTS))
    return 2.0**place


@torch.no_grad()
def tie_again(stream_base: Tensor, quantizers: Sequence[ActivationQuantizer]) -> None:
    """Bring scales of one stream together that have been moved one by one: to the largest, unless one is fixed."""
    if not any(quantizer.fixed for quantizer in quantizers):
        stream_base.copy_(max(quantizers, key=lambda quantizer: float(quantizer.scale)).scale)
    for quantizer in quantizers:
        quantizer.octave = round(math.log2(quantizer.scale.item() / stream_base.item()))
        quantizer.follow()


def read_octaves(stream_base: Tensor, quantizers: Sequence[ActivationQuantizer]) -> None:
    """Find the octaves of one stream whose base and scales have been loaded.

    Raises
    ------
    ValueError
        If a scale is no power of two times the base.
    """
    for quantizer in quantizers:
        scale, base = quantizer.scale.item(), stream_base.item()
        fraction, exponent = math.frexp(scale / base if base > 0 else 0.0)
        if fraction != 0.5:
            raise ValueError(f"Tied scale must be a power of two times its base, {base!r}, not {scale!r}")
        quantizer.octave = exponent - 1
