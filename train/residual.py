"""Constants that bring addends to a layer's accumulator unit: integers as a few signed digits."""

import numpy as np
from numpy.typing import NDArray

from twofold.golden.catalog import digit_points
from twofold.golden.config import ArrayConfig
from twofold.golden.digit_words import digit_codes
from twofold.golden.network import Branch, Tensor
from twofold.train.skip import Skip

#: An addend's constant may be off by this part of an LSB of the addend at its full scale.
TOLERANCE = 0.25


def addend_branch(config: ArrayConfig, skip: Skip, factors: NDArray[np.int64], point_set: str) -> Branch:
    """Depthwise branch that adds ``factors[c] << fmt.digit_shift`` times each value of the skip.

    Parameters
    ----------
    factors : int64, shape (C,)
        One integer a channel of the skip.
    point_set
        Name of the point set of signed digits.
    """
    codes, shifts = digit_codes(factors.reshape(-1, 1, 1, 1), digit_points(config.fmt))
    zero = digit_points(config.fmt).encode(0)
    kept = [n for n in range(len(codes)) if (codes[n] != zero).any()] or [0]
    return Branch(
        source=skip.source,
        point_set=point_set,
        codes=np.ascontiguousarray(codes[kept]),
        shifts=tuple(shifts[n] for n in kept),
        stride=skip.stride,
        padding=skip.padding,
        groups=len(factors),
        channel=skip.channel,
        channels=skip.channels,
    )


def fraction_bits(ratios: list[tuple[NDArray[np.float64], Tensor]], *, shift: int, most: int) -> int:
    """Fewest fraction bits of the accumulator with which every addend's constant is near enough.

    Parameters
    ----------
    ratios : pairs of shape (C,) and the skip's tensor
        The real constants, in accumulator units without fraction bits.
    shift
        `WeightFormat.digit_shift`: the constants are multiples of ``2**shift``.
    most
        Fraction bits that fit.

    Returns
    -------
    The fewest for which rounding is within `TOLERANCE`, else the number of least error.
    """
    best = (np.inf, shift)
    for bits in range(shift, max(most, shift) + 1):
        worst = 0.0
        for ratio, tensor in ratios:
            wanted = ratio * 2.0 ** (bits - shift)
            full = max(-tensor.low, tensor.high)
            worst = max(worst, float((np.abs(np.rint(wanted) - wanted) / wanted).max()) * full)
        if worst <= TOLERANCE:
            return bits
        best = min(best, (worst, bits))
    return best[1]
