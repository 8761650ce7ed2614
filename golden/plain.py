"""Checks of plain values that a network is made of."""

from numbers import Integral, Real

import numpy as np


def is_number(value: object) -> bool:
    """Whether it is a real number, and no truth value."""
    return isinstance(value, Real) and not isinstance(value, bool)


def check_integers(thing: str, *values: object) -> None:
    """Refuse what is no integer of 32 bits."""
    for value in values:
        if not isinstance(value, Integral) or isinstance(value, bool):
            raise TypeError(f"{thing} must be of integers, not {value!r}")
        if not -(1 << 31) <= int(value) < 1 << 31:
            raise ValueError(f"{thing} must be of 32 bits, not {value!r}")


def check_flag(thing: str, value: object) -> None:
    """Refuse what is no truth value."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{thing} must be true or false, not {value!r}")


def check_name(thing: str, value: object) -> None:
    """Refuse what is no string."""
    if not isinstance(value, str):
        raise TypeError(f"{thing} must be a string, not {value!r}")
