"""Linear activations of a few bits, one scale a tensor."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from twofold.train.quantizers.base import named, register
from twofold.train.quantizers.rounding import round_clipped

CALIBRATIONS = ("mse", "max")
#: Values of a tensor that calibration looks at, at most.
SAMPLE = 1 << 17


def sample(x: Tensor) -> Tensor:
    """All values of a tensor, flat, or `SAMPLE` of them drawn at random, the same ones each time."""
    flat = x.flatten()
    return flat if len(flat) <= SAMPLE else flat[_places(len(flat)).to(flat.device)]


@lru_cache(maxsize=32)
def _places(count: int) -> Tensor:
    return torch.randint(count, (SAMPLE,), generator=torch.Generator().manual_seed(0))


def _same(x: Tensor) -> Tensor:
    return x


#: Activation quantizers by the name that recipes use: classes that were defined with ``name=``.
ACTIVATIONS: dict[str, type["ActivationQuantizer"]] = {}


@dataclass(eq=False)
class Stream:
    """What the scales of the tensors along a residual stream have in common: each is a power of two times the base.

    Parameters
    ----------
    base : shape (1,)
        The one parameter that is trained for all of them.
    learn
        Train it.
    count
        Tensors.
    """

    base: nn.Parameter
    learn: bool
    count: int


class ActivationQuantizer(nn.Module):
    """``clip(rint(x / scale), low, high) * scale``, with the gradients of LSQ where the scale is trained.

    Base of the other activation quantizers; they differ in where the scale comes from.

    Parameters
    ----------
    bits
        2 to 8.
    signed
        Two's complement; otherwise from 0.
    calibration
        ``mse``: the scale of least squared error. ``max``: the whole range fits.
    limit
        Real upper bound, such as 6 for ReLU6.
    scale
        Fixed real value of one LSB; ``None`` calibrates.

    Attributes
    ----------
    stream
        What the scale is tied to, if it is: then it is ``base * 2**octave``.
    through
        The function behind, if there is one: then ``mse`` is the error of its results.
    octave
        Power of two between base and scale.
    tie_cost : shape (4,), where the scale is tied
        Scale and mean squared error as they would be untied, and as they are, when calibrated.

    Source: [LSQ].
    """

    #: Whether weight decay acts on what is trained.
    decayed = False
    #: Whether the scale may be tied to others'; a subclass must say so itself, as it may have its scale from elsewhere.
    can_tie = True
    #: Whether the scale is always a power of two.
    power_scale = False
    stream: Stream | None = None
    through: Callable[[Tensor], Tensor] | None = None
    octave = 0
    tie_cost: Tensor

    def __init_subclass__(cls, name: str = "", **options: Any):
        super().__init_subclass__(**options)
        cls.can_tie = cls.__dict__.get("can_tie", False)
        register(ACTIVATIONS, name, cls)

    def __init__(
        self,
        *,
        bits: int,
        signed: bool,
        calibration: str = "mse",
        limit: float | None = None,
        scale: float | None = None,
    ):
        super().__init__()
        if not isinstance(bits, int) or not 2 <= bits <= 8:
            raise ValueError(f"Activation bits must be 2 to 8, not {bits!r}")
        if calibration not in CALIBRATIONS:
            raise ValueError(f"Calibration must be one of {CALIBRATIONS}, not {calibration!r}")
        self.bits, self.signed, self.calibration, self.limit = bits, signed, calibration, limit
        self.final_bits = bits
        self.enabled = True
        self.learn = False
        self.frozen = False
        self.network_weights = 1
        self.fixed = scale is not None
        self.scale = nn.Parameter(torch.tensor([1.0 if scale is None else scale]), requires_grad=False)

    @property
    def lift(self) -> int:
        """What the integers are raised by in the exported network (`quantizers.residual_stream`)."""
        return 0

    @property
    def low(self) -> int:
        """Least integer."""
        return -(1 << (self.bits - 1)) if self.signed else 0

    @property
    def high(self) -> int:
        """Largest integer: of the format, or of `limit`."""
        high = (1 << (self.bits - self.signed)) - 1
        return high if self.limit is None else max(1, min(high, int(np.rint(self.limit / float(self.scale.detach())))))

    def forward(self, x: Tensor) -> Tensor:
        if not self.enabled:
            return x
        high = self.high
        scale, share = self.trained_scale(x, high)
        return round_clipped(x, scale, self.low, high, share=share)

    def trained_scale(self, x: Tensor, high: int) -> tuple[Tensor, float]:
        """The scale as gradients reach what is trained of it, and the factor of these."""
        share = self.share(x, high)
        if self.stream is None or not self.stream.base.requires_grad:
            return self.scale, share
        # As many numbers share the base as all tensors have together.
        return self.stream.base * 2.0**self.octave, share / float(np.sqrt(self.stream.count))

    @staticmethod
    def share(x: Tensor, high: int) -> float:
        """Factor of the gradient of a trained scale."""
        return float(1 / np.sqrt(x[0].numel() * high))

    @property
    def clips_negatives(self) -> bool:
        """Whether negative numbers become 0, as a ReLU before it would make them."""
        return self.enabled and not self.signed and type(self).forward is ActivationQuantizer.forward

    def format_at(self, scale: float) -> tuple[float, int, int]:
        """Scale, least and largest integer of what an error is of, with that scale."""
        return scale, self.low, (1 << (self.bits - self.signed)) - 1

    @torch.no_grad()
    def calibrate(self, x: Tensor) -> None:
        """Choose the scale for these values. Nothing happens where it is fixed."""
        if self.fixed:
            return
        x = x.detach() if self.limit is None else x.detach().clamp(max=self.limit)
        part, low, high = self.format_at(1.0)
        largest = max(float(x.max()) / high, float(x.min()) / low if self.signed else 0.0)
        if largest <= 0:  # the range of 0 to 1, so that the constants of what reads these zeros are fine enough
            self.scale.fill_(1 / high / part)
            return
        if self.calibration == "max":
            self.scale.fill_(largest / part)
            return
        flat = sample(x).double()
        # Of many functions only the middle counts, however far the values reach.
        through, least = (_same, 0.1) if self.through is None else (self.through, 0.01)
        wanted, best = through(flat), (np.inf, largest)
        for clip in np.linspace(least, 1.0, 91):
            scale = largest * float(clip)
            found = through((flat / scale).round_().clamp_(low, high).mul_(scale))
            best = min(best, (float((found - wanted).square_().sum()), scale))
        self.scale.fill_(best[1] / part)

    @torch.no_grad()
    def set_bits(self, least: int) -> bool:
        """Have the final bits or, if fewer, `least`, keeping the clipping level; whether the quantizer can."""
        if self.fixed:
            return False
        before = (1 << (self.bits - self.signed)) - 1
        self.bits = max(self.final_bits, least)
        self.scale.mul_(before / ((1 << (self.bits - self.signed)) - 1))
        return True

    def trained(self) -> list[nn.Parameter]:
        """Parameters that training moves; tied quantizers share theirs."""
        if self.stream is not None:
            return [self.stream.base] if self.stream.learn else []
        return [self.scale] if self.learn and not self.fixed else []

    def aids(self) -> list[nn.Parameter]:
        """Training aids: see `WeightQuantizer.aids`."""
        return []

    def on_step(self, step: int, steps: int, epoch: int) -> None:
        """To be called before each training step, numbered from 0, of `steps` in all."""

    def penalty(self) -> Tensor | None:
        """Part of the training loss, if the method has one."""
        return None

    def metrics(self) -> dict[str, tuple[float, float]]:
        """What to report after an epoch: see `WeightQuantizer.metrics`."""
        return {}

    @torch.no_grad()
    def after_step(self) -> None:
        """Keep a trained scale positive, and tied ones together."""
        if self.stream is None:
            self.scale.clamp_(min=1e-8)
        else:
            self.stream.base.clamp_(min=1e-8)
            self.follow()

    @torch.no_grad()
    def tie(self, stream: Stream) -> None:
        """Let the scale be a power of two times the stream's base."""
        self.stream, self.octave = stream, 0
        self.register_buffer("tie_cost", torch.zeros(4))
        self.follow()

    @torch.no_grad()
    def follow(self) -> None:
        """Take a tied scale from the base."""
        if self.stream is not None and not self.fixed:
            self.scale.copy_(self.stream.base * 2.0**self.octave)

    def begin(self) -> None:
        """To be called when training begins."""
        self.frozen = False

    def finish(self) -> None:
        """To be called when training ends, or its settling begins."""
        self.frozen = True

    def extra_repr(self) -> str:
        return f"bits={self.bits}, signed={self.signed}, calibration={self.calibration!r}"


register(ACTIVATIONS, "lsq", ActivationQuantizer)


def build_activation(name: str, **options: Any) -> ActivationQuantizer:
    """Activation quantizer of that name.

    Raises
    ------
    ValueError
        If there is no such quantizer, or an option is impossible.
    """
    return named(ACTIVATIONS, name, "Activation quantizer")(**options)
