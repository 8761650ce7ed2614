"""What a bench says where something differs: where first, on what, what was expected and what came."""

from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

import numpy as np
from numpy.typing import NDArray

_NOTHING = object()


def equal(got: Sequence[Any], expected: Sequence[Any], what: str = "Output", *, inputs: Sequence[Any] = ()) -> None:
    """See that two sequences are equal.

    Parameters
    ----------
    got, expected
        One entry a cycle, line or case.
    what
        What is compared.
    inputs
        What each entry was made from, as far as there is one.

    Raises
    ------
    AssertionError
        Naming the first entry that differs.
    """
    for index, (value, right) in enumerate(zip_longest(got, expected, fillvalue=_NOTHING)):
        if value is _NOTHING or right is _NOTHING:
            raise AssertionError(f"{what} must be {len(expected)} entries, not {len(got)}")
        if value != right:
            made = f" for {inputs[index]!r}" if index < len(inputs) else ""
            raise AssertionError(f"{what} {index} must be {right!r}{made}, not {value!r}")


def same_tensor(got: NDArray[np.int64], expected: NDArray[np.int64], what: str, *, inputs: object = None) -> None:
    """See that two arrays are equal.

    Raises
    ------
    AssertionError
        Naming the first element that differs and how many do.
    """
    if got.shape != expected.shape:
        raise AssertionError(f"{what} must be of shape {expected.shape}, not {got.shape}")
    wrong = np.argwhere(got != expected)
    if len(wrong):
        index = tuple(wrong[0].tolist())
        made = "" if inputs is None else f" for {inputs}"
        raise AssertionError(
            f"{what}, element {index} must be {expected[index]}{made}, not {got[index]} "
            f"({len(wrong)} of {got.size} differ)"
        )
