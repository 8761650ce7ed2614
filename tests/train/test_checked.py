"""Settings that pydantic checks: strict types, and one line with the key, the rule and the value of what is refused."""

import math
from dataclasses import asdict, dataclass, replace
from typing import Annotated, Literal

import pytest
from pydantic import Field

from twofold.train.checked import LISTED, among, checked, must

NAMES = ["a"]


@checked("inner.")
@dataclass(frozen=True)
class Inner:
    """A part of a part."""

    size: int = 1


@checked("part.")
@dataclass(frozen=True)
class Settings:
    count: Annotated[int, Field(ge=1)]
    rate: Annotated[float, Field(ge=0, lt=1)] = 0.5
    share: Annotated[float, Field(ge=0, le=1)] = 0.5
    even: Annotated[int, must("even", lambda value: value % 2 == 0)] = 0
    flag: bool = False
    maybe: bool | None = None
    kind: Literal["x", "y"] = "x"
    name: Annotated[str, among(NAMES)] = "a"
    row: Annotated[tuple[float, ...], LISTED] = ()
    inner: Inner | None = None

    def __post_init__(self) -> None:
        if self.count == 13:
            raise ValueError("part must be lucky, not 13")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"count": True}, "part.count must be an integer, not True"),
        ({"count": "3"}, "part.count must be an integer, not '3'"),
        ({"count": 3.0}, "part.count must be an integer, not 3.0"),
        ({"count": 0}, "part.count must be at least 1, not 0"),
        ({"rate": 1}, "part.rate must be 0 to below 1, not 1"),
        ({"rate": -1}, "part.rate must be 0 to below 1, not -1"),
        ({"rate": True}, "part.rate must be a number, not True"),
        ({"rate": math.nan}, "part.rate must be finite, not nan"),
        ({"rate": math.inf}, "part.rate must be finite, not inf"),
        ({"share": 2}, "part.share must be 0 to 1, not 2"),
        ({"even": 3}, "part.even must be even, not 3"),
        ({"flag": 1}, "part.flag must be true or false, not 1"),
        ({"maybe": 0}, "part.maybe must be true or false, not 0"),
        ({"kind": "z"}, "part.kind must be one of ('x', 'y'), not 'z'"),
        ({"kind": ["x"]}, "part.kind must be one of ('x', 'y'), not ['x']"),
        ({"name": "b"}, "part.name must be one of ('a',), not 'b'"),
        ({"name": 3}, "part.name must be a string, not 3"),
        ({"row": 1}, "part.row must be a list of numbers, not 1"),
        ({"row": [0.5, "x"]}, "part.row[1] must be a number, not 'x'"),
        ({"inner": {"size": 1}}, "part.inner must be an instance of Inner, not {'size': 1}"),
        ({"count": 13}, "part must be lucky, not 13"),
    ],
)
def test_a_wrong_value_is_one_line(values, message):
    for make in (lambda: Settings(**{"count": 1} | values), lambda: replace(Settings(1), **values)):
        with pytest.raises(ValueError) as caught:
            make()
        assert str(caught.value) == message


def test_arguments_that_are_no_fields_or_left_out_are_named():
    names = tuple(f"part.{name}" for name in asdict(Settings(1)))
    with pytest.raises(ValueError) as caught:
        Settings(1, counts=2)
    assert str(caught.value) == f"key must be one of {names}, not 'part.counts'"
    with pytest.raises(ValueError) as caught:
        Settings()
    assert str(caught.value) == "key 'part.count' must be given, not left out"


def test_an_argument_without_its_name_is_named():
    with pytest.raises(ValueError) as caught:
        Settings(1, 7)
    assert str(caught.value) == "part.rate must be 0 to below 1, not 7"


def test_allowed_values_are_taken():
    made = Settings(3, 0, share=1, flag=True, maybe=False, kind="y", row=[0, 0.5], inner=Inner(2))
    assert (made.count, made.rate, made.row, made.maybe, made.inner) == (3, 0.0, (0.0, 0.5), False, Inner(2))


def test_the_class_stays_what_it_says():
    assert (Inner.__name__, Inner.__module__, Inner.__doc__) == ("Inner", __name__, "A part of a part.")


def test_names_may_become_more():
    NAMES.append("late")
    try:
        assert Settings(1, name="late").name == "late"
    finally:
        NAMES.remove("late")
