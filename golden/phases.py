"""Transposed convolutions as phases: ordinary convolutions, each of which gives every so many positions of the output.

Along an axis, output y is the sum of ``w[k] * x[i]`` over ``i * stride - padding + k * dilation = y``. The outputs
``offset + n * stride`` meet the same taps k, whose inputs are some positions from each other.
"""

from dataclasses import dataclass
from math import gcd


@dataclass(frozen=True)
class Axis:
    """One phase along one axis.

    Parameters
    ----------
    offset, count, step
        Its first output, how many there are, and from one to the next.
    taps
        Kernel positions, in the order of their inputs.
    begin, dilation
        Padding before the inputs, and positions from a tap's input to the next one's.
    """

    offset: int
    count: int
    step: int
    taps: tuple[int, ...]
    begin: int
    dilation: int

    def end(self, length: int) -> int:
        """Padding behind a source of that length."""
        return self.count + self.dilation * (len(self.taps) - 1) - length - self.begin


def axis_phases(kernel: int, stride: int, padding: int, dilation: int, outputs: int) -> list[Axis]:
    """The phases of a transposed convolution along an axis.

    Raises
    ------
    ValueError
        If a phase meets no tap.
    """
    found = []
    for offset in range(min(stride, outputs)):
        taps = [k for k in reversed(range(kernel)) if (offset + padding - k * dilation) % stride == 0]
        if not taps:
            raise ValueError(f"kernel must reach every output, not {kernel} with stride {stride}, dilation {dilation}")
        begin = -((offset + padding - taps[0] * dilation) // stride)
        count = len(range(offset, outputs, stride))
        found.append(Axis(offset, count, stride, tuple(taps), begin, dilation // gcd(dilation, stride)))
    return found
