"""What a value of a graph stands for while it is read: integers of a tensor, or real numbers made of them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twofold.golden.network import Pair, Tensor
from twofold.golden.parts import Part

Sides = tuple[int, int, int, int]
Shape = tuple[int, int, int]
Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
NOWHERE: Sides = (0, 0, 0, 0)


@dataclass(frozen=True)
class Plain:
    """Real numbers ``unit * (tensor + shift)`` with padding around them.

    Parameters
    ----------
    tensor, shape
        Name of the network's tensor, and the shape of the value.
    unit
        Real value of an LSB; negative after Neg.
    shift
        What a zero point leaves (LSBs).
    padding, fill
        (top, left, bottom, right), and what is there: 0 or minus infinity.
    flat
        Without height and width.
    channels
        Those of the tensor that the value has, each once; None: all.
    """

    tensor: str
    shape: Shape
    unit: float
    shift: int = 0
    padding: Sides = NOWHERE
    fill: float = 0.0
    flat: bool = False
    channels: tuple[int, ...] | None = None

    @property
    def pieces(self) -> tuple["Plain", ...]:
        """The values one after the other along the channels: itself."""
        return (self,)

    @property
    def whole(self) -> bool:
        """Whether it is a tensor as it is, without padding."""
        return self.channels is None and not any(self.padding)


@dataclass(frozen=True)
class Joined:
    """Plain values one after the other along the channels, each without padding."""

    pieces: tuple[Plain, ...]

    @property
    def shape(self) -> Shape:
        return sum(piece.shape[0] for piece in self.pieces), *self.pieces[0].shape[1:]

    @property
    def flat(self) -> bool:
        return self.pieces[0].flat


@dataclass(frozen=True)
class Coded:
    """Integers as the graph has them: values of unit 1, whose shift is their offset from the network's tensors."""

    value: Plain | Joined


@dataclass(frozen=True)
class Raw:
    """The network's input before it is quantized, within bounds."""

    low: float = -np.inf
    high: float = np.inf


@dataclass(frozen=True, eq=False)
class Most:
    """``unit[c] * (maximum of sign * tensor over windows + shift) + bias[c]``.

    Parameters
    ----------
    unit, bias : shape (M,)
        Positive; real.
    """

    tensor: str
    sign: int
    unit: Floats
    bias: Floats
    kernel: Pair
    stride: Pair
    dilation: Pair
    padding: Sides
    shape: Shape
    shift: int = 0
    low: float = -np.inf
    high: float = np.inf
    flat: bool = False


@dataclass(frozen=True, eq=False)
class Term:
    """A convolution of a tensor: ``unit[c] * sum(weights[c] * window)``.

    Parameters
    ----------
    weights : int64, shape (M, N / groups, Kh, Kw)
    unit : shape (M,)
        Positive.
    channel
        First of the sum's channels that it adds to; with parts of M channels each, p * M is the first of part p.
    channels
        The N channels of the tensor that are read; None: all.
    """

    tensor: str
    weights: Integers
    unit: Floats
    stride: Pair = (1, 1)
    padding: Sides = NOWHERE
    dilation: Pair = (1, 1)
    groups: int = 1
    channel: int = 0
    channels: tuple[int, ...] | None = None


@dataclass(frozen=True, eq=False)
class Sum:
    """``clip(sum of terms and plain values + bias)``, with bounds of real numbers.

    Parameters
    ----------
    bias : shape (M,), or of P parts (P * M,)
    parts
        Places of parts that terms and bias are of; empty: one of all places. Others are zeros.
    """

    shape: Shape
    terms: tuple[Term, ...]
    plains: tuple[Plain, ...]
    bias: Floats
    low: float = -np.inf
    high: float = np.inf
    flat: bool = False
    parts: tuple[Part, ...] = ()

    @property
    def bounded(self) -> bool:
        return self.low > -np.inf or self.high < np.inf


@dataclass(frozen=True, eq=False)
class Moved:
    """Plain values at other places: ``unit * (sum + shift)``, where the sum's terms only name integers.

    Parameters
    ----------
    like
        A tensor with the format of those that are copied, and their scale.
    """

    sum: Sum
    unit: float
    shift: int
    like: Tensor

    @property
    def shape(self) -> Shape:
        return self.sum.shape

    @property
    def flat(self) -> bool:
        return self.sum.flat


@dataclass(frozen=True, eq=False)
class Constant:
    """Numbers that the file holds. Quantized ones are ``unit * integers``.

    Parameters
    ----------
    values
        The real numbers.
    integers : int64, the shape of `values`; None if they are not quantized
    unit : broadcastable to `values`
    """

    values: NDArray[np.float64]
    integers: Integers | None = None
    unit: Floats | None = None


Value = Raw | Coded | Plain | Joined | Moved | Most | Sum | Constant
