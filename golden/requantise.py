"""What a DRAIN computes of accumulators, channels and a skip, in the machine's integers."""

import numpy as np
from numpy.typing import NDArray

from twofold.golden.config import ArrayConfig
from twofold.golden.isa import Drain
from twofold.golden.rounding import rne

Array = NDArray[np.int64]


def requantised(
    config: ArrayConfig, drain: Drain, accumulators: Array, channels: Array, skip: Array | None, tables: Array
) -> Array:
    """Raw activations, unsigned.

    Parameters
    ----------
    config, drain
        The build; shift and kind of the skip, clip bounds, and the table.
    accumulators : shape (P, C)
        Without bias.
    channels : shape (3, C)
        Bias, multiplier and right shift of every column.
    skip : shape (P, C)
        Raw lanes, unsigned; None if there is none.
    tables : shape (table_lines,)
        Raw entries of all tables, unsigned.

    Returns
    -------
    shape (P, C)
    """
    bias, multiplier, right = channels
    sums = wrap(accumulators + bias, config.acc_width)
    if config.scaled_bits <= 62 and right.max(initial=0) <= 62:
        total = sums * multiplier
        if skip is not None:
            total = wrap(total + _shifted(config, drain, skip, right), config.scaled_bits)
        result = rne(total, right)
    else:
        exact, right = sums.astype(object) * multiplier.astype(object), right.astype(object)
        if skip is not None:
            exact = wrap(exact + _shifted(config, drain, skip.astype(object), right), config.scaled_bits)
        result = _rne_exact(exact, right)
    clipped: Array = np.clip(result, drain.low, drain.high)
    if drain.tabled:
        index = clipped & ((1 << config.table_bits) - 1)
        return tables[((drain.table << config.table_bits) + index).astype(np.intp)]
    return clipped & ((1 << config.act_bits) - 1)


def wrap(value: Array, width: int) -> Array:
    """The number of `width` bits, two's complement, that is equal modulo ``2**width``."""
    half = 1 << (width - 1)
    return ((value + half) & ((1 << width) - 1)) - half


def _shifted(config: ArrayConfig, drain: Drain, skip: Array, right: Array) -> Array:
    """The skip in units of the scaled sum. What 64 bits lose is lost in `wrap`, too."""
    value = wrap(skip, config.act_bits) if drain.skip_signed else skip
    return np.left_shift(value, (right + drain.skip_shift) % config.skip_reach)


def _rne_exact(value: Array, right: Array) -> Array:
    """`golden.rounding.rne` in Python's integers, for builds whose scaled sums do not fit in 64 bits."""
    quotient = value >> right
    twice = (value - (quotient << right)) * 2
    divisor = np.left_shift(np.ones_like(right), right)
    rounded: Array = quotient + ((twice > divisor) | ((twice == divisor) & (quotient % 2 == 1)))
    return rounded
