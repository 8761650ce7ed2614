"""Copies of a table in which one value is another, of other types."""

import copy
import json
import math
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

VALUES: tuple[Any, ...] = (
    None,
    True,
    0,
    1,
    -1,
    3,
    1 << 40,
    10**400,
    0.5,
    -1.5,
    1e300,
    "",
    "x",
    "0",
    [],
    [1],
    [[1]],
    ["a"],
    [None],
    [10**30],
    {},
    {"a": 1},
    {"layers": 3},
)
#: Values that JSON has no word for; Python's reader takes them.
SPECIAL = (math.nan, math.inf)


def mutations(table: Any, seed: int, count: int, values: tuple[Any, ...] = VALUES) -> Iterator[Any]:
    """So many copies, each with one value replaced, at places drawn at random; every place comes first once."""
    places = list(_places(table))
    rng = random.Random(seed)
    rng.shuffle(places)
    for number in range(count):
        place = places[number] if number < len(places) else rng.choice(places)
        yield _replaced(table, place, rng.choice(values))


def check(path: Path, load: Callable[[], object]) -> bool:
    """Whether a file loads; else there must be one error that begins with a path of its folder."""
    try:
        load()
    except FileNotFoundError:
        return False
    except (ValueError, TypeError) as error:
        assert str(error).startswith((f"{path}: ", f"{path.parent}/")), repr(error)
        return False
    return True


def toml(value: Any) -> str:
    """A value as TOML, tables in one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(toml, value)) + "]"
    return repr(value) if isinstance(value, float) else json.dumps(value)


def toml_file(table: dict[str, Any]) -> str:
    return "".join(f"{json.dumps(key)} = {toml(value)}\n" for key, value in table.items())


def _places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield (*place, key)
        yield from _places(item, (*place, key))


def _replaced(table: Any, place: tuple[Any, ...], value: Any) -> Any:
    changed = copy.deepcopy(table)
    inner = changed
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    return changed
