"""The one rounding of a layer, and the multipliers of a few signed digits that requantisation may use."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray


def rne(value: NDArray[np.int64], right: NDArray[np.int64] | int) -> NDArray[np.int64]:
    """``value * 2**-right`` rounded to the nearest integer, ties to even; exact, in integers.

    Parameters
    ----------
    value : any shape
        Numbers to scale.
    right : broadcastable to `value`
        Right shift (bits), 0 to 62.

    Raises
    ------
    TypeError
        If `value` is not int64: a narrower type would wrap without a word.

    Source: `torch.round`, `numpy.rint` and ONNX QuantizeLinear round likewise.
    """
    if value.dtype != np.int64:
        raise TypeError(f"Values must be int64, not {value.dtype}")
    divisor = np.left_shift(np.int64(1), np.asarray(right, dtype=np.int64))
    quotient = np.floor_divide(value, divisor)
    remainder = value - quotient * divisor
    up = (2 * remainder > divisor) | ((2 * remainder == divisor) & (quotient % 2 == 1))
    return quotient + up


def csd(value: int) -> tuple[tuple[int, int], ...]:
    """Canonical signed digits of an integer: (sign, shift) pairs, largest shift first, no two adjacent."""
    digits = []
    shift = 0
    while value:
        if value & 1:
            sign = 2 - (value & 3)
            digits.append((sign, shift))
            value -= sign
        value >>= 1
        shift += 1
    return tuple(reversed(digits))


@lru_cache
def _mantissas(digits: int, span: int) -> NDArray[np.int64]:
    """Every positive integer of at most `digits` signed digits with shifts 0 to `span`, ascending."""
    found = {0}
    for _ in range(digits):
        found |= {v + sign * (1 << shift) for v in found for sign in (1, -1) for shift in range(span + 1)}
    return np.array(
        sorted(v for v in found if v > 0 and len(csd(v)) <= digits and csd(v)[0][1] <= span), dtype=np.int64
    )


def scale_multiplier(scale: float, *, digits: int, span: int, max_right: int) -> tuple[int, int]:
    """Integers (M, r) for which ``M * 2**-r`` is as near to `scale` as `digits` signed digits can be.

    Parameters
    ----------
    scale
        Real ratio of accumulator units to output units; positive.
    digits, span
        Most digits of M and the largest shift of one (`ArrayConfig.digits`, `.digit_span`).
    max_right
        Largest r.

    Returns
    -------
    (M, r), with the smallest r among the nearest.

    Raises
    ------
    ValueError
        If the scale is not positive and finite, or too large or too small for any (M, r).
    """
    if not np.isfinite(scale) or scale <= 0:
        raise ValueError(f"Scale must be positive and finite, not {scale!r}")
    mantissas = _mantissas(digits, span)
    best: tuple[float, int, int] | None = None
    for right in range(max_right + 1):
        place = int(np.searchsorted(mantissas, scale * 2.0**right))
        for candidate in mantissas[max(0, place - 1) : place + 1]:
            error = abs(float(candidate) * 2.0**-right - scale)
            if best is None or error < best[0]:
                best = (error, int(candidate), right)
    if best is None or best[0] > scale / 2:
        raise ValueError(f"Scale must be within {mantissas[0]}*2**-{max_right} and {mantissas[-1]}, not {scale!r}")
    return best[1], best[2]
