import re

import pytest

from twofold.golden.formats import PointSet, WeightFormat, digit_levels

#: Two terms: {4, 1, 0} and {2, 0}.
FMT = WeightFormat(menus=((2, 0, None), (1, None)), index_bits=2)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (((), 2), ValueError, "Format must have at least one term, not ()"),
        ((((),), 2), ValueError, "Menu must have at least one shift, not ()"),
        ((((0, 1, 0),), 2), ValueError, "Menu must not repeat an entry, not (0, 1, 0)"),
        ((((0, 16),), 2), ValueError, "Shift must be 0 to 15, not 16"),
        ((((-1,),), 2), ValueError, "Shift must be 0 to 15, not -1"),
        ((((1.0,),), 2), TypeError, "Shift must be an integer or None, not 1.0"),
        ((((0,),), 0), ValueError, "Index width must be 1 to 7 bits, not 0"),
        ((((0,),), 8), ValueError, "Index width must be 1 to 7 bits, not 8"),
        ((((0,),), True), TypeError, "Index width must be an integer, not True"),
        ((((0,),), 2.0), TypeError, "Index width must be an integer, not 2.0"),
        (
            (((0,), (1,)), 2, 0),
            ValueError,
            "Spare shift must be in the menu of a format of one term, not 0",
        ),
        (
            (((None, 1),), 2, 0),
            ValueError,
            "Spare shift must be in the menu of a format of one term, not 0",
        ),
    ],
)
def test_impossible_formats_are_refused(arguments, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        WeightFormat(*arguments)


def test_levels_and_picks_by_hand():
    assert FMT.picks == {0: (2, 1), 1: (1, 1), 2: (2, 0), 3: (1, 0), 4: (0, 1), 6: (0, 0)}
    assert FMT.universal_set == (0, 1, 2, 3, 4, 6)
    assert FMT.max_level == 6


def test_the_first_pick_in_menu_order_builds_a_level():
    fmt = WeightFormat(menus=((1, 0, None), (0, 1, None)), index_bits=1)
    assert fmt.picks == {0: (2, 2), 1: (1, 2), 2: (0, 2), 3: (0, 0), 4: (0, 1)}


def test_widths_by_hand():
    assert (FMT.code_bits, FMT.point_count) == (3, 4)
    assert FMT.code_fields == {"index": 2, "sign": 1}
    assert FMT.row_fields == {"term0": 2, "term1": 1}


def test_a_menu_of_one_entry_has_a_select_of_one_bit():
    assert WeightFormat(menus=((3,),), index_bits=1).row_fields == {"term0": 1}


def test_codes_and_values_by_hand():
    points = PointSet(FMT, (6, 1, 3, 4))
    assert points.rows == ((0, 0), (1, 1), (1, 0), (0, 1))
    assert points.values == (6, 1, 3, 4, -6, -1, -3, -4)
    assert [points.encode(value) for value in (6, 4, -6, -3)] == [0b000, 0b011, 0b100, 0b110]
    assert not points.has_zero


def test_of_equal_codes_the_lowest_is_used():
    points = PointSet(FMT, (4, 0, 4, 0))
    assert points.values == (4, 0, 4, 0, -4, 0, -4, 0)
    assert points.codes == {4: 0, 0: 1, -4: 4}
    assert points.has_zero


def test_the_spare_code_is_the_extra_negative_level():
    points = PointSet(WeightFormat(menus=((None, 1, 2, 0),), index_bits=1, spare=0), (0, 4))
    assert points.values == (0, 4, -1, -4)
    assert points.encode(-1) == 0b10


def test_impossible_point_sets_are_refused():
    with pytest.raises(ValueError, match=r"^Point set must have 4 levels, not 3$"):
        PointSet(FMT, (0, 1, 2))
    with pytest.raises(ValueError, match=r"^Level must be one of \(0, 1, 2, 3, 4, 6\), not 5$"):
        PointSet(FMT, (0, 1, 2, 5))
    with pytest.raises(ValueError, match=r"^Weight must be one of \(-3, -2, -1, 0, 1, 2, 3\), not 4$"):
        PointSet(FMT, (0, 1, 2, 3)).encode(4)


def test_digit_levels_by_hand():
    assert [digit_levels(k) for k in (1, 2, 3, 4)] == [
        (0, 1),
        (0, 1, 2),
        (0, 1, 2, 3, 4),
        (0, 1, 2, 3, 4, 5, 6, 7, 8),
    ]


def test_a_format_without_digits_is_refused():
    fmt = WeightFormat(menus=((1, None),), index_bits=1)
    with pytest.raises(ValueError, match=r"^Levels must hold the digits 0 and 1, not \(0, 2\)$"):
        _ = fmt.radix_bits
