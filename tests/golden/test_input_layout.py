"""Folded inputs by hand: which value lies in which lane."""

import numpy as np
import pytest

from twofold.golden.input_layout import InputLayout

FACTS = {"kernel": (1, 2), "stride": (1, 1), "padding": (0, 1), "dilation": (1, 1), "size": (2, 4)}
X = np.array([[[1, -2, 3], [4, 5, -6]], [[10, 20, 30], [40, 50, 60]]])


def test_kernel_positions_of_a_channel_lie_beside_each_other():
    layout = InputLayout(**FACTS)
    assert layout.shape((2, 2, 3)) == (4, 2, 4)
    assert layout.fold(X).tolist() == [
        [[0, 1, -2, 3], [0, 4, 5, -6]],
        [[1, -2, 3, 0], [4, 5, -6, 0]],
        [[0, 10, 20, 30], [0, 40, 50, 60]],
        [[10, 20, 30, 0], [40, 50, 60, 0]],
    ]


def test_rows_of_a_kernel_come_before_its_columns():
    layout = InputLayout(kernel=(2, 2), stride=(1, 2), padding=(0, 0), dilation=(1, 1), size=(1, 1))
    assert layout.fold(X).tolist() == [[[value]] for value in (1, -2, 4, 5, 10, 20, 40, 50)]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"dilation": (2, 2), "padding": (2, 1)}, [[[0, 0]], [[0, 0]], [[0, 1]], [[2, 3]]]),
        ({"stride": (1, 3), "padding": (0, 0)}, [[[1, 0]], [[2, 0]], [[4, 0]], [[5, 0]]]),
        ({"padding": (-1, -1), "size": (1, 1)}, [[[5]], [[6]], [[0]], [[0]]]),
    ],
)
def test_stride_padding_and_dilation_are_the_layouts(changes, expected):
    facts = {"kernel": (2, 2), "stride": (1, 1), "padding": (0, 0), "dilation": (1, 1), "size": (1, 2)}
    x = np.array([[[1, 2, 3], [4, 5, 6]]], dtype=np.uint8)
    folded = InputLayout(**facts | changes).fold(x)
    assert folded.dtype == np.uint8
    assert folded.tolist() == expected


@pytest.mark.parametrize("key", FACTS)
@pytest.mark.parametrize("value", [3, (1,), (1, 2, 3), (1.0, 1), (True, 1), ("1", "1"), None])
def test_what_is_no_pair_of_integers_is_refused(key, value):
    with pytest.raises(TypeError) as caught:
        InputLayout(**FACTS | {key: value})
    assert str(caught.value) == f"Input layout: {key} must be a pair of integers, not {value!r}"


@pytest.mark.parametrize("key", ["kernel", "stride", "dilation", "size"])
@pytest.mark.parametrize("value", [(0, 1), (1, -1), (1 << 31, 1)])
def test_numbers_beyond_their_range_are_refused(key, value):
    with pytest.raises(ValueError) as caught:
        InputLayout(**FACTS | {key: value})
    assert str(caught.value) == f"Input layout: {key} must be 1 to 2**31 - 1, not {value!r}"


def test_padding_may_be_negative():
    assert InputLayout(**FACTS | {"padding": (1 - (1 << 31), 3)}).padding[1] == 3
    with pytest.raises(ValueError) as caught:
        InputLayout(**FACTS | {"padding": (-(1 << 31), 0)})
    assert str(caught.value) == f"Input layout: padding must be -2**31 + 1 to 2**31 - 1, not {(-(1 << 31), 0)}"
