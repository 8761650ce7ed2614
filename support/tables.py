"""Tables out of JSON and TOML files; whatever a file holds, it is a table or one error that begins with its path."""

import json
import tomllib
from collections.abc import Callable
from math import isfinite
from pathlib import Path
from typing import Any

from twofold.support.reading import read_bytes

DEPTH = 64


def read_toml(path: Path) -> dict[str, Any]:
    """Table of a TOML file.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is not TOML.
    """
    return _parse(path, "TOML", tomllib.loads)


def read_json(path: Path) -> Any:
    """What a JSON file holds; it raises like `read_toml`."""
    return _parse(path, "JSON", parse_json)


def parse_json(text: str) -> Any:
    """What a JSON text holds; numbers are finite and nesting has a limit."""
    value = json.loads(text, parse_constant=_no_constant, parse_float=_finite)
    _check_depth(value)
    return value


def _parse(path: Path, kind: str, parse: Callable[[str], Any]) -> Any:
    data = read_bytes(path)
    try:
        value = parse(data.decode("utf-8-sig").replace("\r\n", "\n"))
        _check_depth(value)
    except RecursionError as error:
        raise ValueError(f"{path}: file must be {kind}, not this: nesting must be at most {DEPTH} deep") from error
    except ValueError as error:
        raise ValueError(f"{path}: file must be {kind}, not this: {error}") from error
    return value


def _finite(text: str) -> float:
    if not isfinite(float(text)):
        raise ValueError(f"{text} is too large for a number")
    return float(text)


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is not a number")


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(DEPTH):
        level = [
            child
            for item in level
            if isinstance(item, (dict, list))
            for child in (item.values() if isinstance(item, dict) else item)
        ]
        if not level:
            return
    raise ValueError(f"nesting must be at most {DEPTH} deep")
