"""Every number type gives the same sums and maxima."""

import numpy as np
import pytest

from twofold.golden.convolution import BranchKernel
from twofold.golden.network import INPUT, Branch

TYPES = (np.float32, np.float64, np.int64)


def kernel(weights, dtype, **geometry):
    weights = np.asarray(weights, dtype=np.int64)
    codes = np.zeros((1, *weights.shape), dtype=np.uint8)
    return BranchKernel(Branch(INPUT, "any", codes, (0,), **geometry), weights, dtype=dtype)


@pytest.mark.parametrize("dtype", TYPES)
def test_positions_outside_the_map_are_no_maximum(dtype):
    x = np.array([[-5, -3], [-4, -2]])[None, :, :, None]
    maximum = kernel(np.ones((1, 1, 3, 3)), dtype, padding=(1, 1)).maximum(x.astype(dtype))
    assert maximum.dtype == dtype
    assert maximum[0, :, :, 0].tolist() == [[-2, -2], [-2, -2]]


@pytest.mark.parametrize("dtype", TYPES)
def test_four_sides_by_hand(dtype):
    """A line above is left out, one is added on the left, two below, and a column on the right is left out."""
    x = np.array([[9, 9, 9], [1, 2, 9], [3, 4, 9]])[None, :, :, None].astype(dtype)
    one = kernel(np.ones((1, 1, 2, 2)), dtype, padding=(-1, 1, 2, -1))
    assert one.sum(x)[0, :, :, 0].tolist() == [[4, 10], [3, 7], [0, 0]]
    assert one.maximum(x)[0, :2, :, 0].tolist() == [[3, 4], [3, 4]]


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(("groups", "shape"), [(1, (4, 6, 3, 2)), (2, (4, 3, 3, 2)), (6, (6, 1, 3, 2))])
def test_sums_are_those_of_plain_loops(dtype, groups, shape):
    rng = np.random.default_rng(1)
    weights, x = rng.integers(-9, 9, shape), rng.integers(-9, 9, (2, 5, 4, 6))
    one = kernel(weights, dtype, groups=groups, stride=(2, 1), padding=(1, 0), dilation=(1, 2))
    sums = one.sum(x.astype(dtype))
    padded = np.pad(x, ((0, 0), (1, 1), (0, 0), (0, 0)))
    inputs, outputs = 6 // groups, shape[0] // groups
    expected = np.zeros((2, 3, 2, shape[0]), dtype=np.int64)
    for image, i, j, m, n, row, col in np.ndindex(*expected.shape, inputs, 3, 2):
        value = padded[image, 2 * i + row, j + 2 * col, m // outputs * inputs + n]
        expected[image, i, j, m] += value * weights[m, n, row, col]
    np.testing.assert_array_equal(sums, expected)
