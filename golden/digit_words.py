"""Integer weights as signed-digit words: how uniform, binary and ternary weights reach the array."""

import numpy as np
from numpy.typing import NDArray

from twofold.golden import catalog
from twofold.golden.formats import PointSet


def digit_codes(values: NDArray[np.int64], points: PointSet) -> tuple[NDArray[np.uint8], tuple[int, ...]]:
    """Codes and shifts of the fewest words that hold every value.

    Parameters
    ----------
    values : any shape
        Integer weights, in weight LSBs.
    points
        Must hold the signed digits of the format's radix (`catalog.digit_points`).

    Returns
    -------
    codes : uint8, shape (words, ...), and one left shift (bits) a word, as `network.Branch` takes them.
        The words add up to ``values << points.fmt.digit_shift``.

    Raises
    ------
    ValueError
        If a digit is not a point.
    """
    fmt = points.fmt
    distinct, places = np.unique(values, return_inverse=True)
    count = catalog.digit_count(int(np.abs(distinct).max(initial=0)), fmt.radix_bits)
    table = np.array(
        [
            [points.encode(digit << fmt.digit_shift) for digit in catalog.signed_digits(int(v), fmt.radix_bits, count)]
            for v in distinct
        ],
        dtype=np.uint8,
    ).reshape(-1, count)
    codes = np.moveaxis(table[places].reshape(*values.shape, count), -1, 0)
    return np.ascontiguousarray(codes), tuple(fmt.radix_bits * n for n in range(count))
