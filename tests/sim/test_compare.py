import numpy as np
import pytest

from twofold.sim.compare import equal, same_tensor


def failure(compare, *arguments, **keywords):
    with pytest.raises(AssertionError) as caught:
        compare(*arguments, **keywords)
    return str(caught.value)


def test_equal_sequences_pass():
    equal([1, 2], (1, 2))
    equal([], [])
    same_tensor(np.arange(6).reshape(2, 3), np.arange(6).reshape(2, 3), "Layer 'a'")


def test_the_first_difference_is_named():
    assert failure(equal, [1, 5, 6], [1, 2, 3], "Sum", inputs=["a", "b", "c"]) == "Sum 1 must be 2 for 'b', not 5"
    assert failure(equal, [[1, 2]], [[1, 3]]) == "Output 0 must be [1, 3], not [1, 2]"


def test_another_length_is_named_after_differences():
    assert failure(equal, [1], [1, 2], "Line") == "Line must be 2 entries, not 1"
    assert failure(equal, [1, 2], [1]) == "Output must be 1 entries, not 2"
    assert failure(equal, [3], [1, 2], "Line") == "Line 0 must be 1, not 3"


def test_the_first_element_of_a_tensor_is_named():
    got, expected = np.zeros((2, 2), dtype=np.int64), np.array([[0, 0], [4, 5]])
    message = failure(same_tensor, got, expected, "Layer 'a'", inputs="input 3")
    assert message == "Layer 'a', element (1, 0) must be 4 for input 3, not 0 (2 of 4 differ)"
    assert failure(same_tensor, got, expected[0], "x") == "x must be of shape (2,), not (2, 2)"
