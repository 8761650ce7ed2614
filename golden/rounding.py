"""The one rounding of a layer, and the multipliers of a few signed digits that requantisation may use."""

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
    right = np.asarray(right, dtype=np.int64)
    divisor = np.left_shift(np.int64(1), right)
    quotient = np.right_shift(value, right)
    twice = 2 * np.bitwise_and(value, divisor - 1)
    rounded: NDArray[np.int64] = quotient + ((twice > divisor) | ((twice == divisor) & (quotient & 1 == 1)))
    return rounded


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


def scale_multiplier(scale: float, *, digits: int, span: int, max_right: int) -> tuple[int, int]:
    """Integers (M, r) for which ``M * 2**-r`` is as near to `scale` as `digits` signed digits can be.

    Parameters
    ----------
    scale
        Real ratio of accumulator units to output units; positive.
    digits, span
        Most digits of M, in canonical form, and the largest shift of one (`ArrayConfig.digits`, `.digit_span`).
    max_right
        Largest r.

    Returns
    -------
    (M, r), with the smallest r among the nearest, and of those the smaller M.

    Raises
    ------
    ValueError
        If the scale is not positive and finite, or too large or too small for any (M, r).
    """
    if not np.isfinite(scale) or scale <= 0:
        raise ValueError(f"Scale must be positive and finite, not {scale!r}")
    numerator, denominator = float(scale).as_integer_ratio()
    # Every M * 2**-r is also 2M * 2**-(r+1) as long as 2M is within the span, so only the largest r matter.
    top = span - (numerator.bit_length() - denominator.bit_length())
    found = []
    for right in {min(max(top + n, 0), max_right) for n in (-1, 0, 1, 2)}:
        target = numerator << right
        for m in _nearby(target, denominator, digits, span):
            error = abs(m * denominator - target) << (max_right - right)
            r = right
            while m and m % 2 == 0 and r:
                m, r = m // 2, r - 1
            found.append((error, r, m))
    error, right, multiplier = min(found)
    if 2 * error > numerator << max_right:
        most = sum(1 << shift for shift in range(span, -1, -2)[:digits])
        raise ValueError(f"Scale must be within 1*2**-{max_right} and {most}, not {scale!r}")
    return multiplier, right


def _nearby(target: int, unit: int, digits: int, span: int) -> set[int]:
    """Integers of at most `digits` canonical signed digits with shifts up to `span`, target/unit's nearest among them.

    A number whose first digit is 2**s lies from 2/3 to 4/3 of it, so the first digit of the nearest number is one of
    the two powers of two around the target, or the largest allowed if both are too large.
    """
    if digits == 0 or span < 0:
        return {0}
    sign = 1 if target >= 0 else -1
    magnitude = abs(target)
    below = (magnitude // unit).bit_length() - 1
    found = {0}
    for shift in {min(max(below, 0), span), min(below + 1, span)}:
        rest = magnitude - (unit << shift)
        found |= {(1 << shift) + low for low in _nearby(rest, unit, digits - 1, shift - 2)}
    return {sign * m for m in found}
