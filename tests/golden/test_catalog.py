"""Levels and codes written by hand from the papers: golden, training and hardware would agree on any mistake."""

import re

import numpy as np
import pytest

from twofold.golden import catalog
from twofold.golden.digit_words import digit_codes
from twofold.golden.formats import PointSet

#: [Sigma] section 2.2: {0, +-1} at 2 bits, {0, +-1, +-2, +-4} at 3, 15 levels up to 64 at 4.
SYMMETRIC = {
    2: (0, 1, 0, -1),
    3: (0, 1, 2, 4, 0, -1, -2, -4),
    4: (0, 1, 2, 4, 8, 16, 32, 64, 0, -1, -2, -4, -8, -16, -32, -64),
}
#: [STLQ]: positive U/2 to U/2**(M-1), negative one further, in units of the smallest.
ASYMMETRIC = {
    2: (0, 2, -1, -2),
    3: (0, 2, 4, 8, -1, -2, -4, -8),
    4: (0, 2, 4, 8, 16, 32, 64, 128, -1, -2, -4, -8, -16, -32, -64, -128),
}
#: [SubsetQ] table 1, sums in units of the smallest term; 12, 16, 17, 23 and 15 of them.
UNIVERSAL = {
    1: (0, 1, 2, 3, 4, 5, 6, 8, 9, 10, 12, 16),
    2: (0, 1, 2, 3, 4, 6, 8, 9, 12, 16, 18, 24, 32, 33, 36, 48),
    3: (0, 1, 2, 3, 4, 5, 6, 8, 9, 10, 12, 16, 17, 18, 20, 24, 32),
    4: (0, 1, 2, 3, 4, 5, 6, 8, 9, 10, 12, 16, 17, 18, 20, 24, 32, 33, 34, 36, 40, 48, 64),
    5: (0, 1, 2, 3, 4, 6, 8, 9, 12, 16, 17, 18, 20, 24, 32),
}


@pytest.mark.parametrize("bits", SYMMETRIC)
def test_symmetric_log_words(bits):
    points = catalog.log_points(catalog.log_format(bits))
    assert points.values == SYMMETRIC[bits]
    assert points.fmt.code_bits == bits
    assert points.encode(0) == 0


@pytest.mark.parametrize("bits", ASYMMETRIC)
def test_asymmetric_log_words(bits):
    points = catalog.log_points(catalog.log_format(bits, asymmetric=True))
    assert points.values == ASYMMETRIC[bits]
    assert points.encode(-1) == 1 << (bits - 1)


def test_log_codes_by_hand():
    three = catalog.log_points(catalog.log_format(3))
    assert {value: three.encode(value) for value in (1, 4, -1, -4)} == {1: 0b001, 4: 0b011, -1: 0b101, -4: 0b111}
    four = catalog.log_points(catalog.log_format(4))
    assert (four.encode(64), four.encode(-2)) == (0b0111, 0b1010)


def test_five_bit_log_words_reach_their_largest_level():
    assert max(catalog.log_points(catalog.log_format(5)).values) == 16384
    assert max(catalog.log_points(catalog.log_format(5, asymmetric=True)).values) == 32768


def test_selects_of_log_words_by_hand():
    # A select is the shift, and the one after the last shift is off.
    assert catalog.log_points(catalog.log_format(3)).rows == ((3,), (0,), (1,), (2,))
    assert catalog.log_points(catalog.log_format(4)).rows == ((7,), (0,), (1,), (2,), (3,), (4,), (5,), (6,))
    fmt = catalog.log_format(3, asymmetric=True)
    assert catalog.log_points(fmt).rows == ((4,), (1,), (2,), (3,))
    assert (fmt.menus, fmt.spare) == (((0, 1, 2, 3, None),), 0)


def test_two_words_add_up():
    # 30 = 32 - 2: the largest level shifted by 3, and minus the smallest shifted by 1.
    points = catalog.log_points(catalog.log_format(3))
    values = np.array(points.values)
    first, second = points.encode(4), points.encode(-1)
    assert (values[first] << 3) + (values[second] << 1) == 30
    sums = {a + b for a in points.values for b in points.values}
    assert sums == {0, 1, 2, 3, 4, 5, 6, 8, -1, -2, -3, -4, -5, -6, -8}


@pytest.mark.parametrize("option", UNIVERSAL)
def test_universal_sets(option):
    assert catalog.subset_format(4, option).universal_set == UNIVERSAL[option]


def test_option_5_is_the_default_and_its_selects_are_known():
    fmt = catalog.subset_format(4)
    assert fmt.menus == ((4, 3, 1, None), (4, 2, 0, None))  # A = {16, 8, 2, 0}, B = {16, 4, 1, 0}
    assert fmt.row_fields == {"term0": 2, "term1": 2}
    assert {level: fmt.picks[level] for level in (0, 16, 32, 12, 3, 1, 18)} == {
        0: (3, 3),
        16: (0, 3),  # 16 + off, not off + 16
        32: (0, 0),
        12: (1, 1),
        3: (2, 2),
        1: (3, 2),
        18: (2, 0),
    }


def test_subset_codes_by_hand():
    # The set that the authors' code chose most often for ResNet-50 at 4 bits: it has no zero.
    points = PointSet(catalog.subset_format(4), (32, 18, 12, 9, 6, 4, 2, 1))
    assert not points.has_zero
    assert (points.encode(32), points.encode(1), points.encode(-12)) == (0b0000, 0b0111, 0b1010)
    assert points.values == (32, 18, 12, 9, 6, 4, 2, 1, -32, -18, -12, -9, -6, -4, -2, -1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: catalog.log_format(1), "Log word must be 2 to 5 bits, not 1"),
        (lambda: catalog.log_format(6), "Log word must be 2 to 5 bits, not 6"),
        (lambda: catalog.log_format(3.0), "Log word must be 2 to 5 bits, not 3.0"),
        (lambda: catalog.subset_format(5), "Subset word must be 2 to 4 bits, not 5"),
        (lambda: catalog.subset_format(4, 6), "Universal set must be one of (1, 2, 3, 4, 5), not 6"),
    ],
)
def test_formats_that_do_not_exist_are_refused(make, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        make()


#: Format, radix bits and digit shift of each word.
RADIX = [
    (catalog.log_format(2), 1, 0),
    (catalog.log_format(3), 2, 0),
    (catalog.log_format(4), 2, 0),
    (catalog.log_format(5), 2, 0),
    (catalog.log_format(2, asymmetric=True), 1, 1),
    (catalog.log_format(3, asymmetric=True), 2, 1),
    (catalog.log_format(4, asymmetric=True), 2, 1),
    *[(catalog.subset_format(2, option), 1, 0) for option in UNIVERSAL],
    *[(catalog.subset_format(3, option), 2, 0) for option in UNIVERSAL],
    *[(catalog.subset_format(4, option), 3, 0) for option in UNIVERSAL],
]


@pytest.mark.parametrize(("fmt", "radix_bits", "digit_shift"), RADIX)
def test_radix_of_each_format(fmt, radix_bits, digit_shift):
    assert (fmt.radix_bits, fmt.digit_shift) == (radix_bits, digit_shift)


@pytest.mark.parametrize(("fmt", "radix_bits", "digit_shift"), RADIX)
def test_digit_codes_add_up_to_every_int8(fmt, radix_bits, digit_shift):
    points = catalog.digit_points(fmt)
    values = np.arange(-128, 128)
    codes, shifts = digit_codes(values, points)
    assert len(codes) == len(shifts) == {1: 8, 2: 4, 3: 3}[radix_bits]
    sums = sum(np.array(points.values)[word] << shift for word, shift in zip(codes, shifts, strict=True))
    np.testing.assert_array_equal(sums, values << digit_shift)


def test_digit_points_of_subset_words_by_hand():
    assert catalog.digit_points(catalog.subset_format(4)).levels == (0, 1, 2, 3, 4, 4, 4, 4)
    assert catalog.digit_points(catalog.subset_format(3)).levels == (0, 1, 2, 2)
    assert catalog.digit_points(catalog.subset_format(2)).levels == (0, 1)


@pytest.mark.parametrize(
    ("value", "radix_bits", "count", "digits"),
    [
        (-128, 2, 4, (0, 0, 0, -2)),
        (127, 2, 4, (-1, 0, 0, 2)),
        (7, 2, 2, (-1, 2)),
        (-8, 2, 2, (0, -2)),
        (-128, 3, 3, (0, 0, -2)),
        (127, 3, 3, (-1, 0, 2)),
        (100, 3, 3, (4, 4, 1)),
        (-7, 3, 2, (1, -1)),
        (-1, 1, 1, (-1,)),
        (1, 2, 1, (1,)),
        (0, 3, 2, (0, 0)),
        (-8, 1, 4, (0, 0, 0, -1)),
    ],
)
def test_signed_digits_by_hand(value, radix_bits, count, digits):
    assert catalog.signed_digits(value, radix_bits, count) == digits


@pytest.mark.parametrize(
    ("radix_bits", "counts"),
    # Largest magnitude of ternary, int2 (-2), int4 (-8) and int8 (-128) weights.
    [(1, {1: 1, 2: 2, 8: 4, 128: 8}), (2, {1: 1, 2: 1, 8: 2, 128: 4}), (3, {1: 1, 2: 1, 8: 2, 128: 3})],
)
def test_fewest_digits(radix_bits, counts):
    for largest, count in counts.items():
        assert catalog.digit_count(largest, radix_bits) == count
        limit = catalog.digit_max(radix_bits)
        for value in range(-largest, largest + 1):
            digits = catalog.signed_digits(value, radix_bits, count)
            assert max(map(abs, digits)) <= limit
            assert sum(digit << (n * radix_bits) for n, digit in enumerate(digits)) == value


def test_too_few_digits_are_refused():
    with pytest.raises(ValueError, match=r"^Value must fit in 3 signed digits of radix 4, not -128$"):
        catalog.signed_digits(-128, 2, 3)


@pytest.mark.parametrize("values", [[-1, 1], [-1, 0, 1], [0]])
def test_binary_and_ternary_weights_are_one_word(values):
    for fmt in (catalog.log_format(2), catalog.log_format(3, asymmetric=True), catalog.subset_format(4)):
        codes, shifts = digit_codes(np.array(values), catalog.digit_points(fmt))
        assert (codes.shape, shifts) == ((1, len(values)), (0,))
