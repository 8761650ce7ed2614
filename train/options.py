"""Quantizers' own options in a recipe: types and values are looked at when it loads."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from twofold.train.quantizers import ACTIVATIONS, QUANTIZERS, build_activation, build_quantizer

#: Name that only a member of a mixture may have: its weights stay as they are.
FLOAT = "float"
#: Weights that an option's value is tried on.
_SHAPE = (2, 2, 1, 1)
#: Integers are below this.
_LARGEST = 1 << 31
_WORDS = {int: "an integer", float: "a finite number", str: "a string", bool: "true or false"}
#: What `WeightRule` and `ActivationRule` say besides the quantizer's options.
_RULE = {"quantizer": str, "learn": bool}


def check_weight(name: str, options: Mapping[str, Any], key: str = "weight") -> None:
    """Refuse options that a weight quantizer does not have or cannot take.

    Raises
    ------
    ValueError
        Naming the key, the rule and the value.
    """
    hints, needed = _parameters(QUANTIZERS[name])
    _check(options, hints, needed, key)
    for number, member in enumerate(options.get("members", ())):
        _check_member(member, f"{key}.members[{number}]")
    _try(lambda: build_quantizer(name, _SHAPE, **options), key)


def check_activation(name: str, options: Mapping[str, Any], common: Mapping[str, Any]) -> None:
    """Likewise for an activation quantizer, with the arguments that all of them have."""
    hints, needed = _parameters(ACTIVATIONS[name])
    own = {option: hint for option, hint in hints.items() if option not in (*common, "limit", "scale")}
    _check(options, own, needed & set(own), "activation")
    if options.get("member", "lsq") not in ACTIVATIONS:
        raise ValueError(f"activation.member must be one of {tuple(ACTIVATIONS)}, not {options['member']!r}")
    _try(lambda: build_activation(name, **common, **options), "activation")


def _check_member(member: Mapping[str, Any], key: str) -> None:
    _check({option: member[option] for option in member if option in _RULE}, _RULE, {"quantizer"}, key)
    name, options = member["quantizer"], {option: member[option] for option in member if option not in _RULE}
    if name == FLOAT:
        _check(options, {}, set(), key)
    elif name in QUANTIZERS and "members" not in _parameters(QUANTIZERS[name])[0]:
        check_weight(name, options, key)
    else:
        names = (*(name for name in QUANTIZERS if "members" not in _parameters(QUANTIZERS[name])[0]), FLOAT)
        raise ValueError(f"{key}.quantizer must be one of {names}, not {name!r}")


def _parameters(kind: type) -> tuple[dict[str, Any], set[str]]:
    """Types of a quantizer's own options, and those that must be given."""
    hints = get_type_hints(kind.__init__)  # type: ignore[misc]
    own = [p for p in inspect.signature(kind).parameters.values() if p.kind is p.KEYWORD_ONLY]
    return {p.name: hints[p.name] for p in own}, {p.name for p in own if p.default is p.empty}


def _check(options: Mapping[str, Any], hints: Mapping[str, Any], needed: set[str], key: str) -> None:
    for option, value in options.items():
        if option not in hints:
            known = tuple(f"{key}.{name}" for name in hints)
            raise ValueError(f"key must be one of {known}, not {f'{key}.{option}'!r}")
        if not _fits(value, hints[option]):
            raise ValueError(f"{key}.{option} must be {_words(hints[option])}, not {value!r}")
    for option in sorted(needed - set(options)):
        raise ValueError(f"key {f'{key}.{option}'!r} must be given, not left out")


def _fits(value: Any, hint: Any) -> bool:
    kind, inner = get_origin(hint), get_args(hint)
    if kind in (Union, UnionType):
        return any(_fits(value, one) for one in inner)
    if kind is tuple:
        return type(value) in (list, tuple) and len(value) == len(inner) and all(map(_fits, value, inner))
    if kind is Sequence:
        return type(value) in (list, tuple) and all(_fits(item, inner[0]) for item in value)
    if kind is Mapping:
        return isinstance(value, dict)
    if hint is int:
        return type(value) is int and abs(value) < _LARGEST
    if hint is float:
        return type(value) in (int, float) and abs(value) < _LARGEST and isfinite(value)
    return type(value) is hint


def _words(hint: Any) -> str:
    kind, inner = get_origin(hint), get_args(hint)
    if kind in (Union, UnionType):
        return " or ".join(_words(one) for one in inner if one is not NoneType)
    if kind is tuple:
        return f"a list of {len(inner)} numbers"
    if kind is Sequence:
        return "a list of tables" if get_origin(inner[0]) is Mapping else "a list of numbers"
    return _WORDS[hint]


def _try(build: Callable[[], object], key: str) -> None:
    """What the constructor says of the values."""
    try:
        build()
    except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise ValueError(f"{key}: {error}") from error
