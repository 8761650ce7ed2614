"""What a value of a graph stands for while it is read: integers of a tensor, or real numbers made of them."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from twofold.golden.network import Pair

Sides = tuple[int, int, int, int]
Shape = tuple[int, int, int]
Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
NOWHERE: Sides = (0, 0, 0, 0)


@dataclass(frozen=True)
class Coded:
    """Integers as the graph has them: those of a network's tensor plus an offset."""

    tensor: str
    offset: int
    flat: bool = False


@dataclass(frozen=True)
class Plain:
    """Real numbers ``unit * (tensor + shift)`` with padding around them.

    Parameters
    ----------
    tensor, shape
        Name of the network's tensor, and its shape.
    unit
        Real value of an LSB; negative after Neg.
    shift
        What a zero point leaves (LSBs).
    padding, fill
        (top, left, bottom, right), and what is there: 0 or minus infinity.
    flat
        Without height and width.
    """

    tensor: str
    shape: Shape
    unit: float
    shift: int = 0
    padding: Sides = NOWHERE
    fill: float = 0.0
    flat: bool = False


@dataclass(frozen=True)
class Raw:
    """The network's input before it is quantized, within bounds."""

    low: float = -np.inf
    high: float = np.inf


@dataclass(frozen=True, eq=False)
class Most:
    """``unit[c] * maximum of sign * tensor over windows + bias[c]``.

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
        First of the sum's channels that it adds to.
    """

    tensor: str
    weights: Integers
    unit: Floats
    stride: Pair = (1, 1)
    padding: Sides = NOWHERE
    dilation: Pair = (1, 1)
    groups: int = 1
    channel: int = 0


@dataclass(frozen=True, eq=False)
class Sum:
    """``clip(sum of terms and plain values + bias)``, with bounds of real numbers."""

    shape: Shape
    terms: tuple[Term, ...]
    plains: tuple[Plain, ...]
    bias: Floats
    low: float = -np.inf
    high: float = np.inf
    flat: bool = False

    @property
    def bounded(self) -> bool:
        return self.low > -np.inf or self.high < np.inf

    def times(self, factor: Floats) -> "Sum":
        """Each channel times a number that is not zero."""
        sign, size = np.where(factor < 0, -1, 1), np.abs(factor)
        terms = []
        for term in (*self.terms, *(identity(plain) for plain in self.plains)):
            part = slice(term.channel, term.channel + len(term.unit))
            weights = term.weights * sign[part, None, None, None]
            terms.append(replace(term, weights=weights, unit=term.unit * size[part]))
        return replace(self, terms=tuple(terms), plains=(), bias=self.bias * factor)


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


Value = Raw | Coded | Plain | Most | Sum | Constant


def identity(plain: Plain) -> Term:
    """A plain value, without shift and padding, as a convolution."""
    channels = plain.shape[0]
    weights = np.full((channels, 1, 1, 1), 1 if plain.unit > 0 else -1, dtype=np.int64)
    return Term(plain.tensor, weights, np.full(channels, abs(plain.unit)), groups=channels)


def as_sum(plain: Plain) -> Sum:
    """A plain value as a sum of one; what a zero point leaves is a bias."""
    bias = np.full(plain.shape[0], plain.unit * plain.shift)
    return Sum(plain.shape, (), (replace(plain, shift=0),), bias, flat=plain.flat)
