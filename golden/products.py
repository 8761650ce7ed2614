"""What the array's products hold besides weight times activation: constants that the compiler takes off the bias."""

import numpy as np
from numpy.typing import NDArray

from twofold.golden.config import ArrayConfig


def product_bases(config: ArrayConfig, values: NDArray[np.int64]) -> NDArray[np.int64]:
    """`ArrayConfig.product_base` of every code.

    Parameters
    ----------
    values : int64, shape (codes,)
        The weight (LSBs) of every code: the positive half, then the negative one.

    Returns
    -------
    int64, shape (codes,)
        In product LSBs.
    """
    codes = range(len(values))
    bases = [config.product_base(abs(int(values[code])), code >= config.fmt.point_count) for code in codes]
    return np.array(bases, dtype=np.int64)


def column_constants(
    config: ArrayConfig, values: NDArray[np.int64], codes: NDArray[np.integer], *, signed: bool
) -> NDArray[np.int64]:
    """What a column's sum holds besides the dot product of weights and activations, in product LSBs.

    Lanes that supply no activation count, too: they supply the operand that stands for zero.

    Parameters
    ----------
    values : int64, shape (codes,)
        The weight (LSBs) of every code.
    codes : integers, shape (rows, columns)
        The loaded tile.
    signed
        Whether the activations are signed, so that operands are raised by `ArrayConfig.operand_offset`.

    Returns
    -------
    int64, shape (columns,)
    """
    each = product_bases(config, values) + (config.operand_offset * values if signed else 0)
    sums: NDArray[np.int64] = each[codes].sum(axis=0)
    return sums


def idle_sum(config: ArrayConfig) -> int:
    """A column's sum where every code is negative and every operand zero, in product LSBs."""
    return config.rows * config.product_max
