"""How a network's input lies in feature memory when it is folded: kernel positions beside each other in the lanes."""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from twofold.golden.network import Pair

Number = TypeVar("Number", bound=np.integer)
#: Below this every number of a layout stays, so that places are exact in 64 bits.
LIMIT = 1 << 31


@dataclass(frozen=True)
class InputLayout:
    """Windows of the input, stored in its place.

    Channel ``(c * Kh + ky) * Kw + kx`` of position (i, j), the order of `torch.nn.Unfold`, is the input's channel c at
    ``(i * stride[0] - padding[0] + ky * dilation[0], j * stride[1] - padding[1] + kx * dilation[1])``, and zero where
    that is outside.

    Parameters
    ----------
    kernel
        (Kh, Kw): kernel positions that lie in the lanes.
    stride, dilation
        (vertical, horizontal).
    padding
        (top, left), zeros; negative where lines are left out.
    size
        (height, width) of what is stored: the number of windows.
    """

    kernel: Pair
    stride: Pair
    padding: Pair
    dilation: Pair
    size: Pair

    def __post_init__(self) -> None:
        for key in ("kernel", "stride", "padding", "dilation", "size"):
            pair = getattr(self, key)
            whole = isinstance(pair, tuple) and all(isinstance(one, int) and not isinstance(one, bool) for one in pair)
            if not whole or len(pair) != 2:
                raise TypeError(f"Input layout: {key} must be a pair of integers, not {pair!r}")
            least, rule = (1 - LIMIT, "-2**31 + 1") if key == "padding" else (1, "1")
            if not least <= min(pair) <= max(pair) < LIMIT:
                raise ValueError(f"Input layout: {key} must be {rule} to 2**31 - 1, not {pair!r}")

    def shape(self, shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """(channels, height, width) of what is stored of an input of that shape."""
        return (shape[0] * self.kernel[0] * self.kernel[1], *self.size)

    def fold(self, x: NDArray[Number]) -> NDArray[Number]:
        """What is stored of an input.

        Parameters
        ----------
        x : integers, shape (C, H, W)

        Returns
        -------
        Of the same type, shape (C * Kh * Kw, \\*size)
        """
        (y, y_inside), (x_, x_inside) = (self._places(axis, x.shape[1 + axis]) for axis in (0, 1))
        inside = y_inside[:, None, :, None] & x_inside[:, None, :]
        windows = np.where(inside, x[:, y[:, None, :, None], x_[:, None, :]], x.dtype.type(0))
        return windows.reshape(self.shape((len(x), *x.shape[1:])))

    def _places(self, axis: int, length: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Where kernel positions (first axis) of windows (second axis) lie along an axis, and whether inside."""
        taps = np.arange(self.kernel[axis])[:, None] * self.dilation[axis]
        places = np.arange(self.size[axis]) * self.stride[axis] - self.padding[axis] + taps
        return places.clip(0, length - 1), (places >= 0) & (places < length)
