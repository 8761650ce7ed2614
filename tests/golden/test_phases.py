"""Transposed convolutions along an axis, by their definition and by their phases."""

import itertools

import pytest

from twofold.golden.phases import axis_phases


def transposed(kernel, stride, padding, dilation, source, outputs):
    """Output y is the sum of w[k] * x[i] over i * stride - padding + k * dilation = y; as strings of k and i."""
    found = [set() for _ in range(outputs)]
    for k, i in itertools.product(range(kernel), range(source)):
        y = i * stride - padding + k * dilation
        if 0 <= y < outputs:
            found[y].add((k, i))
    return found


def by_phases(kernel, stride, padding, dilation, source, outputs):
    found = [set() for _ in range(outputs)]
    for axis in axis_phases(kernel, stride, padding, dilation, outputs):
        assert axis.step == stride and axis.count == len(found[axis.offset :: stride])
        # As an ordinary convolution: tap t of position n reads input n + t * dilation of the padded source.
        assert axis.end(source) + source + axis.begin == axis.count + axis.dilation * (len(axis.taps) - 1)
        for n in range(axis.count):
            for t, k in enumerate(axis.taps):
                i = n + t * axis.dilation - axis.begin
                if 0 <= i < source:
                    found[axis.offset + n * stride].add((k, i))
    return found


@pytest.mark.parametrize(
    ("kernel", "stride", "dilation"),
    [(1, 1, 1), (2, 2, 1), (3, 2, 1), (4, 2, 1), (5, 3, 1), (5, 2, 3), (4, 3, 2), (6, 4, 1), (3, 1, 2)],
)
def test_phases_give_the_same_sums(kernel, stride, dilation):
    for padding, source, extra in itertools.product(range(kernel), (1, 2, 5), range(stride)):
        outputs = (source - 1) * stride + dilation * (kernel - 1) + 1 - 2 * padding + extra
        if outputs > 0:
            case = kernel, stride, padding, dilation, source, outputs
            assert by_phases(*case) == transposed(*case), case


def test_a_phase_without_a_tap_is_refused():
    with pytest.raises(ValueError, match=r"^kernel must reach every output, not 1 with stride 2, dilation 1$"):
        axis_phases(1, 2, 0, 1, 5)
    assert len(axis_phases(1, 2, 0, 1, 1)) == 1
