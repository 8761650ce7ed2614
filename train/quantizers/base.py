"""What every weight quantizer is: a parametrization that rounds to integers times a scale, and can give its codes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from twofold.golden.formats import PointSet, WeightFormat

#: A channel's scale is at least this fraction of the layer's largest, so that a dead channel has a usable one.
LEAST_SCALE = 2.0**-8

#: Methods of weight quantizers whose first argument is the weights (`in_float32`).
_OF_WEIGHTS = {"forward", "calibrate", "choose", "refresh", "encode"}

Q = TypeVar("Q")
R = TypeVar("R")
P = ParamSpec("P")


def in_float32(method: Callable[Concatenate[Any, Tensor, P], R]) -> Callable[Concatenate[Any, Tensor, P], R]:
    """The method, given weights of half precision as float32: in bfloat16 their quotients would be ties."""

    @wraps(method)
    def wide(self: Any, weight: Tensor, /, *args: P.args, **options: P.kwargs) -> R:
        half = weight.dtype in (torch.bfloat16, torch.float16) and getattr(self, "enabled", True)
        return method(self, weight.float() if half else weight, *args, **options)

    return wide


@dataclass(frozen=True, eq=False)
class CodedWeights:
    """Weights as a `golden.network.Branch` wants them.

    Parameters
    ----------
    codes : uint8, shape (words, M, N / groups, Kh, Kw)
        Code of each word of each weight.
    shifts
        Left shift of each word (bits).
    points
        What the codes mean.
    scale : float64, shape (M,)
        Real value of one LSB of the integer weights.
    """

    codes: NDArray[np.uint8]
    shifts: tuple[int, ...]
    points: PointSet
    scale: NDArray[np.float64]

    @cached_property
    def integers(self) -> NDArray[np.int64]:
        """The weights (LSBs): sums of their shifted words."""
        values = np.array(self.points.values, dtype=np.int64)
        words = [values[word] << shift for word, shift in zip(self.codes, self.shifts, strict=True)]
        return np.sum(words, axis=0)


#: Weight quantizers by the name that recipes use: classes that were defined with ``name=``.
QUANTIZERS: dict[str, type["WeightQuantizer"]] = {}


class WeightQuantizer(nn.Module):
    """Base of the weight quantizers; register it with `torch.nn.utils.parametrize`.

    ``class Mine(WeightQuantizer, name="mine")`` makes it known to recipes. It must have `integers`, `calibrate`, `top`
    and `encode`; with `train.quantizers.digits.DigitQuantizer` as base, `encode` is there.

    The quantized weight is ``round(w / scale) * scale * gain``, "round" being what a subclass's `integers` does.
    Straight-through: the gradient of the quantized weight reaches the weight unchanged, where `inside` says so.
    Weights of half precision are decided on, and given back, in float32.

    Parameters
    ----------
    shape
        (M, N / groups, Kh, Kw) of the weights.

    Attributes
    ----------
    scale : shape (M,)
        Real value of integer 1, one an output channel. Trained where `requires_grad` is switched on.
    gain : shape (M,)
        Factor of the quantized weights that leaves the codes alone (post-training reconstruction).
    learn
        Train what `trained` gives.
    enabled
        Off, the weights pass as they are.
    frozen
        The scale stands still; otherwise training lets `refresh` move it.
    network_weights
        Weights of the whole network, for penalties.
    grouped
        The convolution has groups: its words should have a zero, for the inputs of other groups in a tile.
    """

    #: Bits of a weight (0 where it is not said).
    bits = 0
    #: Whether weight decay acts on what is trained.
    decayed = False
    #: Whether the scale can be trained; otherwise it is computed.
    learns_scale = True
    #: Whether scales are powers of two, so that no factor of a channel can go into them.
    power_scales = False
    #: Whether `calibrate` takes an ``importance`` of each weight, of the weights' shape.
    weighted = False

    def __init_subclass__(cls, name: str = "", **options: Any):
        super().__init_subclass__(**options)
        for method in _OF_WEIGHTS & vars(cls).keys():
            setattr(cls, method, in_float32(vars(cls)[method]))
        register(QUANTIZERS, name, cls)

    def __init__(self, shape: tuple[int, ...]):
        super().__init__()
        if len(shape) != 4:
            raise ValueError(f"Weights must be (M, N, Kh, Kw), not {tuple(shape)!r}")
        self.grouped = False
        self.shape = tuple(shape)
        self.learn = False
        self.enabled = True
        self.frozen = False
        self.network_weights = 1
        self.grouped = False
        self._make_scale()

    def _make_scale(self) -> None:
        self.scale = nn.Parameter(torch.ones(self.shape[0]), requires_grad=False)
        self.gain: Tensor
        self.register_buffer("gain", torch.ones(self.shape[0]))

    def integers(self, x: Tensor) -> Tensor:
        """Nearest sums of words (LSBs, as floats) of weights in LSBs."""
        raise NotImplementedError

    def prepare(self, weight: Tensor) -> Tensor:
        """What is rounded: the weights as they are, but for methods that normalise them."""
        return weight

    def inside(self, x: Tensor) -> Tensor | None:
        """Weights (given in LSBs) that the gradient reaches; ``None``: all of them."""
        return None

    def calibrate(self, weight: Tensor) -> None:
        """Choose scale, and whatever else is not trained, for these weights."""
        raise NotImplementedError

    def check_format(self, fmt: WeightFormat) -> None:
        """Refuse, before any training, arrays whose words can never hold the weights.

        Raises
        ------
        ValueError
            If an array of that format cannot.
        """

    def encode(self, weight: Tensor, fmt: WeightFormat) -> CodedWeights:
        """Codes of the weights for an array of that format.

        Raises
        ------
        ValueError
            If the format cannot hold the words.
        """
        raise NotImplementedError

    def read_scale(self, scale: float) -> None:
        """To be called before `calibrate` where the layer reads the network's input: the scale of that."""

    def grid(self) -> Tensor | None:
        """Every integer weight, ascending, where these are so few that it is worth learning which to round to."""
        return None

    @property
    def top(self) -> float:
        """Largest magnitude (LSBs) before clipping."""
        raise NotImplementedError

    @in_float32
    def forward(self, weight: Tensor) -> Tensor:
        if not self.enabled:
            return weight
        with torch.no_grad():
            if self.training and not self.frozen:
                self.refresh(weight)
            x = self.prepare(weight) / per_channel(self.scale)
            q = self.integers(x) * filled(weight)
        return self._through(weight, q, x)

    def _through(self, weight: Tensor, q: Tensor, x: Tensor) -> Tensor:
        """Value of ``q`` LSBs with the straight-through gradients of weight and scale."""
        scale, gain = per_channel(self.scale), per_channel(self.gain)
        inside = self.inside(x)
        passed = weight if inside is None else torch.where(inside, weight, weight.detach())
        out = (q * scale * gain).detach() + (passed - passed.detach())
        if self.scale.requires_grad:
            slope = torch.where(x.abs() <= self.top, q - x, q)
            slope = slope / np.sqrt(weight[0].numel() * self.top)
            out = out + (scale - scale.detach()) * slope
        return out

    def right_inverse(self, weight: Tensor) -> Tensor:
        """Lets ``module.weight = tensor`` set the unquantized weights."""
        return weight

    @torch.no_grad()
    def rescale(self, factor: Tensor, *, keep: bool = False) -> None:
        """Multiply the scales of the output channels; the weights are rounded anew, or keep their integers."""
        (self.gain if keep else self.scale).mul_(factor.to(self.scale))

    def set_bits(self, least: int) -> bool:
        """Have the final bits or, if these are fewer, `least`, keeping the step; whether the quantizer can."""
        return False

    def refresh(self, weight: Tensor) -> None:
        """In training, before each rounding: whatever follows from the weights as they are now."""

    def trained(self) -> list[nn.Parameter]:
        """Parameters of its own that training moves at the rate of the weights."""
        return [self.scale] if self.learn and self.learns_scale else []

    def aids(self) -> list[nn.Parameter]:
        """Training aids, which have a rate of their own (`TrainSettings.v_lr`)."""
        return []

    def on_step(self, step: int, steps: int, epoch: int) -> None:
        """To be called before each training step, numbered from 0, of `steps` in all."""

    def penalty(self) -> Tensor | None:
        """Part of the training loss, if the method has one."""
        return None

    def metrics(self) -> dict[str, tuple[float, float]]:
        """What to report after an epoch, as (part, whole); the parts and wholes of all layers are added up."""
        return {}

    def facts(self) -> dict[str, tuple[float, float]]:
        """What to say of the exported layer, as (part, whole); the network's are the sums of both."""
        return {}

    @torch.no_grad()
    def after_step(self) -> None:
        """To be called after each optimizer step. Keeps trained scales positive, those of dead channels usable."""
        if self.scale.requires_grad:
            self.scale.clamp_(min=max(float(self.scale.max()) * LEAST_SCALE, 1e-8))

    def begin(self) -> None:
        """To be called when training begins."""
        self.frozen = False

    def finish(self) -> None:
        """To be called when training ends, or its settling begins: training aids go, the scale stands still."""
        self.frozen = True


def register(table: dict[str, type[Q]], name: str, kind: type[Q]) -> None:
    """Enter a class, if it has a name; the same class may come again when its module is loaded anew.

    Raises
    ------
    ValueError
        If another class has the name.
    """
    known = table.get(name)
    if known is not None and (known.__module__, known.__qualname__) != (kind.__module__, kind.__qualname__):
        raise ValueError(f"Quantizer's name must be new, not {name!r}, which is that of {known.__qualname__}")
    if name:
        table[name] = kind


def named(table: Mapping[str, type[Q]], name: str, what: str) -> type[Q]:
    """The class of that name.

    Raises
    ------
    ValueError
        If there is none.
    """
    if name not in table:
        raise ValueError(f"{what} must be one of {tuple(table)}, not {name!r}")
    return table[name]


def build_quantizer(name: str, shape: tuple[int, ...], **options: Any) -> WeightQuantizer:
    """Weight quantizer of that name.

    Raises
    ------
    ValueError
        If there is no such quantizer, or an option is impossible.
    """
    return named(QUANTIZERS, name, "Quantizer")(shape, **options)


def filled(weight: Tensor) -> Tensor:
    """Whether a filter has a weight other than 0, shape (M, 1, 1, 1); the others are 0 whatever levels there are."""
    return per_channel(weight.flatten(1).any(1))


def per_channel(values: Tensor) -> Tensor:
    """(M,) as (M, 1, 1, 1)."""
    return values.view(-1, 1, 1, 1)


def code_table(points: PointSet) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Values of a point set, ascending, and their codes: `numpy.searchsorted` in the first indexes the second."""
    values = np.array(sorted(points.codes), dtype=np.int64)
    return values, np.array([points.codes[int(v)] for v in values], dtype=np.uint8)


def encode_values(values: Tensor | NDArray[np.int64], points: PointSet) -> NDArray[np.uint8]:
    """Codes of integer words.

    Raises
    ------
    ValueError
        If a value is no point of the set.
    """
    array = np.asarray(values).astype(np.int64)
    table, codes = code_table(points)
    place = np.searchsorted(table, array).clip(max=len(table) - 1)
    wrong = table[place] != array
    if wrong.any():
        points.encode(int(array[wrong][0]))
    return codes[place]


def nearest(x: Tensor, levels: Tensor) -> Tensor:
    """Level nearest to each magnitude; halfway the smaller one. `levels` ascend."""
    return levels[torch.bucketize(x, (levels[1:] + levels[:-1]) / 2)]
