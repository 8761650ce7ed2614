import re
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

from twofold.golden.rounding import csd, rne, scale_multiplier


def test_ties_go_to_even_in_both_directions():
    values = np.array([-7, -6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7])
    np.testing.assert_array_equal(rne(values, 1), [-4, -3, -2, -2, -2, -1, 0, 0, 0, 1, 2, 2, 2, 3, 4])
    np.testing.assert_array_equal(rne(values, 2), [-2, -2, -1, -1, -1, 0, 0, 0, 0, 0, 1, 1, 1, 2, 2])


def test_no_shift_changes_nothing():
    values = np.array([-3, 0, 7, np.iinfo(np.int64).min, np.iinfo(np.int64).max])
    np.testing.assert_array_equal(rne(values, 0), values)


@pytest.mark.parametrize("right", [0, 1, 2, 17, 31, 32, 52, 61, 62])
def test_equals_exact_fractions_at_extremes(right):
    half = 1 << max(0, right - 1)
    near = {
        sign * (k * (1 << right) + m * half + d)
        for sign in (1, -1)
        for k in (0, 1, 2)
        for m in (0, 1)
        for d in (-1, 0, 1)
    }
    ends = {-(1 << 63), -(1 << 63) + 1, (1 << 63) - 1, (1 << 63) - 2}
    values = sorted(value for value in near | ends if -(1 << 63) <= value < 1 << 63)
    # Fraction rounds half to even.
    expected = [round(Fraction(value, 1 << right)) for value in values]
    assert rne(np.array(values), right).tolist() == expected


def test_equals_rint_where_floats_are_exact():
    rng = np.random.default_rng(0)
    values = rng.integers(-(1 << 40), 1 << 40, (50, 40))
    right = rng.integers(0, 30, (50, 1))
    np.testing.assert_array_equal(rne(values, right), np.rint(values * 2.0**-right).astype(np.int64))


def test_narrow_values_are_refused():
    with pytest.raises(TypeError, match=r"^Values must be int64, not int32$"):
        rne(np.zeros(1, dtype=np.int32), 1)


@pytest.mark.parametrize(
    ("value", "digits"),
    [
        (0, ()),
        (1, ((1, 0),)),
        (3, ((1, 2), (-1, 0))),
        (7, ((1, 3), (-1, 0))),
        (11, ((1, 4), (-1, 2), (-1, 0))),
        (-6, ((-1, 3), (1, 1))),
        (5, ((1, 2), (1, 0))),
    ],
)
def test_canonical_signed_digits_by_hand(value, digits):
    assert csd(value) == digits


def test_canonical_signed_digits_add_up_and_are_never_adjacent():
    for value in range(-3000, 3000):
        digits = csd(value)
        assert sum(sign << shift for sign, shift in digits) == value
        shifts = [shift for _, shift in digits]
        assert all(high - low >= 2 for high, low in pairwise(shifts))


def nearest(scale, digits, span, max_right):
    """Every (M, r) tried: the error, r and M of the nearest, then of least r, then of least M."""
    allowed = [m for m in range(1, 2 << span) if len(csd(m)) <= digits and csd(m)[0][1] <= span]
    return min(
        (abs(Fraction(m, 1 << right) - Fraction(scale)), right, m) for m in allowed for right in range(max_right + 1)
    )


@pytest.mark.parametrize(("digits", "span", "max_right"), [(1, 4, 6), (2, 5, 4), (3, 6, 8), (2, 0, 3), (4, 7, 5)])
def test_the_multiplier_is_the_nearest_there_is(digits, span, max_right):
    rng = np.random.default_rng(digits)
    scales = [float(2 ** rng.uniform(-max_right - 1, span + 1)) for _ in range(25)]
    # Exact ones, and exactly half-way ones.
    scales += [int(rng.integers(1, 1 << (span + 2))) / (1 << int(rng.integers(0, max_right + 2))) for _ in range(25)]
    for scale in scales:
        error, right, multiplier = nearest(scale, digits, span, max_right)
        if error > Fraction(scale) / 2:
            with pytest.raises(ValueError, match=r"^Scale must be within "):
                scale_multiplier(scale, digits=digits, span=span, max_right=max_right)
        else:
            found = scale_multiplier(scale, digits=digits, span=span, max_right=max_right)
            assert found == (multiplier, right), scale


def test_multipliers_by_hand():
    assert scale_multiplier(0.75, digits=1, span=8, max_right=20) == (1, 0)  # 1/2 and 1 are as near
    assert scale_multiplier(0.75, digits=2, span=8, max_right=20) == (3, 2)
    assert scale_multiplier(5.0, digits=2, span=8, max_right=20) == (5, 0)
    assert scale_multiplier(2.0**-30, digits=3, span=12, max_right=40) == (1, 30)


def test_many_digits_are_found_quickly_enough_to_call_once_a_channel():
    multiplier, right = scale_multiplier(1 / 3, digits=8, span=31, max_right=62)
    assert len(csd(multiplier)) <= 8
    assert abs(multiplier / 2**right - 1 / 3) < 2.0**-17


@pytest.mark.parametrize(
    ("scale", "rule"),
    [
        (0.0, "positive and finite"),
        (-1.0, "positive and finite"),
        (float("inf"), "positive and finite"),
        (float("nan"), "positive and finite"),
        (1e300, "within 1*2**-20 and 21"),
        (1e-300, "within 1*2**-20 and 21"),
    ],
)
def test_impossible_scales_are_refused(scale, rule):
    with pytest.raises(ValueError, match=f"^{re.escape(f'Scale must be {rule}, not {scale!r}')}$"):
        scale_multiplier(scale, digits=3, span=4, max_right=20)
