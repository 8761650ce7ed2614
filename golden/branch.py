"""A source tensor convolved with integer words: what a layer adds up."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twofold.golden.formats import PointSet
from twofold.golden.narrow import Narrow
from twofold.golden.plain import check_integers, check_name

Pair = tuple[int, int]
#: (vertical, horizontal), or (top, left, bottom, right).
Padding = Pair | tuple[int, int, int, int]


def windows_touch(size: Pair, begin: Pair, output: Pair, kernel: Pair, stride: Pair, dilation: Pair) -> bool:
    """Whether every window over a map of that size, padded by `begin` above and on the left, holds a position of it."""
    return all(
        any(0 <= n * step - pad + k * dil < length for k in range(taps))
        for length, pad, count, taps, step, dil in zip(size, begin, output, kernel, stride, dilation, strict=True)
        for n in range(count)
    )


@dataclass(frozen=True, eq=False)
class Branch:
    """One source tensor convolved with integer words, added into some of a layer's output channels.

    Parameters
    ----------
    source
        `INPUT` or the name of an earlier layer.
    point_set
        Name of the network's point set that the codes index.
    codes : uint8, shape (words, M, N / groups, Kh, Kw)
        Weight codes; a weight is the sum of its words.
    shifts
        Left shift of each word (bits); the weight is ``sum(values[codes[i]] << shifts[i])``.
    stride, dilation
        (vertical, horizontal).
    padding
        (vertical, horizontal), or (top, left, bottom, right). It is zeros; for a maximum it is left out. Of four sides
        one may be negative: so many lines are left out there.
    groups
        As in `torch.nn.Conv2d`.
    channel
        First output channel of the layer that the M channels of the branch add into.
    channels
        The N channels of the source that are read, in their order, each once; None: all of them.
    narrow
        The bits of an activation that are read; None: all of them.
    """

    source: str
    point_set: str
    codes: NDArray[np.uint8]
    shifts: tuple[int, ...]
    stride: Pair = (1, 1)
    padding: Padding = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1
    channel: int = 0
    channels: tuple[int, ...] | None = None
    narrow: Narrow | None = None

    def __post_init__(self) -> None:
        if self.codes.dtype != np.uint8 or self.codes.ndim != 5:
            raise ValueError(f"Codes must be uint8 of 5 dimensions, not {self.codes.dtype} of {self.codes.ndim}")
        if not self.codes.size:
            raise ValueError(f"Codes must not be empty, not {self.codes.shape!r}")
        check_name("Source", self.source)
        check_name("Name of the point set", self.point_set)
        for key in ("shifts", "stride", "padding", "dilation"):
            check_integers(key.capitalize(), *getattr(self, key))
        check_integers("Groups", self.groups)
        check_integers("Channel", self.channel)
        if len(self.shifts) != len(self.codes) or not self.shifts or min(self.shifts) < 0:
            raise ValueError(f"Shifts must be {len(self.codes)} numbers, 0 or more, not {self.shifts!r}")
        if max(self.shifts) > 62:
            raise ValueError(f"Shifts must be at most 62, not {self.shifts!r}")
        for key, sizes in (("stride", (2,)), ("padding", (2, 4)), ("dilation", (2,))):
            if len(getattr(self, key)) not in sizes:
                rule = "a pair" if sizes == (2,) else "a pair or four sides"
                raise ValueError(f"{key.capitalize()} must be {rule}, not {getattr(self, key)!r}")
        cut = len(self.padding) == 2 and min(self.padding) < 0
        if min(self.stride) < 1 or min(self.dilation) < 1 or cut:
            raise ValueError(
                "Stride and dilation must be 1 or more and padding 0 or more, "
                f"not {self.stride!r}, {self.dilation!r}, {self.padding!r}"
            )
        if self.groups < 1 or self.out_channels % self.groups:
            raise ValueError(f"Groups must divide {self.out_channels} output channels, not {self.groups!r}")
        if self.channels is not None:
            check_integers("Channels", *self.channels)
            if min(self.channels, default=-1) < 0 or len({*self.channels}) != len(self.channels):
                raise ValueError(f"Channels must be different ones, 0 or more, not {self.channels!r}")
            if len(self.channels) != self.in_channels:
                raise ValueError(f"Channels must be {self.in_channels}, not {len(self.channels)!r}")

    @property
    def out_channels(self) -> int:
        """M: output channels that the branch adds into."""
        return int(self.codes.shape[1])

    @property
    def in_channels(self) -> int:
        """N: channels of the source that are read."""
        return int(self.codes.shape[2]) * self.groups

    @property
    def kernel(self) -> Pair:
        """(Kh, Kw)."""
        return self.codes.shape[3], self.codes.shape[4]

    @property
    def begin(self) -> Pair:
        """(top, left) padding."""
        return self.padding[0], self.padding[1]

    @property
    def end(self) -> Pair:
        """(bottom, right) padding."""
        return self.padding[-2], self.padding[-1]

    def output_size(self, height: int, width: int) -> Pair:
        """(height, width) of the result for a source of that size."""
        sizes = [
            (size + begin + end - dil * (k - 1) - 1) // step + 1
            for size, begin, end, dil, k, step in zip(
                (height, width), self.begin, self.end, self.dilation, self.kernel, self.stride, strict=True
            )
        ]
        return sizes[0], sizes[1]

    def windows_touch(self, height: int, width: int) -> bool:
        """Whether every window over a source of that size holds at least one position inside it."""
        size = height, width
        return windows_touch(size, self.begin, self.output_size(*size), self.kernel, self.stride, self.dilation)

    def weights(self, points: PointSet) -> NDArray[np.int64]:
        """Integer weights, shape (M, N / groups, Kh, Kw)."""
        values = np.array(points.values, dtype=np.int64)
        shifts = np.array(self.shifts, dtype=np.int64).reshape(-1, 1, 1, 1, 1)
        weights: NDArray[np.int64] = np.left_shift(values[self.codes], shifts).sum(axis=0)
        return weights
