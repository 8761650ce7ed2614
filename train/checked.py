"""Settings that pydantic checks wherever they are made; what it refuses is one line, as everywhere in the project."""

from collections.abc import Callable, Collection
from functools import wraps
from typing import Any, Literal, TypeVar, get_args, get_origin

from pydantic import AfterValidator, BeforeValidator, ConfigDict, ValidationError
from pydantic.dataclasses import dataclass

_Settings = TypeVar("_Settings")
_CONFIG = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)
#: Rules by pydantic's kinds of errors; others have their rule in pydantic's message.
_RULES = {
    "bool_type": "true or false",
    "dict_type": "a table",
    "finite_number": "finite",
    "float_type": "a number",
    "int_type": "an integer",
    "string_type": "a string",
    "tuple_type": "a list of numbers",
}
#: A list, as TOML and JSON have it, for a tuple.
LISTED = BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value)


def must(rule: str, holds: Callable[[Any], bool]) -> AfterValidator:
    """Refuse values of which `holds` is false, by the name of the rule that they break."""

    def check(value: Any) -> Any:
        if not holds(value):
            raise ValueError(rule)
        return value

    return AfterValidator(check)


def among(names: Collection[str]) -> AfterValidator:
    """Refuse what is none of the names, which may still become more."""

    def check(name: str) -> str:
        if name not in names:
            raise ValueError(f"one of {tuple(names)}")
        return name

    return AfterValidator(check)


def checked(prefix: str) -> Callable[[type[_Settings]], type[_Settings]]:
    """Make a frozen dataclass refuse values that its annotations do not allow.

    Types are strict (``1`` is not ``true``, ``"3"`` is not 3, but an integer is a number), numbers are finite, and
    other arguments than the fields are none. It raises ValueError: one line that begins with `prefix` and the field.
    """

    def decorate(cls: type[_Settings]) -> type[_Settings]:
        made: Any = dataclass(frozen=True, config=_CONFIG)(cls)
        made.__doc__, init = cls.__doc__, made.__init__

        @wraps(init)
        def checking(self: _Settings, *args: Any, **values: Any) -> None:
            try:
                init(self, *args, **values)
            except ValidationError as error:
                raise ValueError(_line(error, made.__pydantic_fields__, prefix)) from error

        made.__init__ = checking
        return made

    return decorate


def _line(error: ValidationError, fields: dict[str, Any], prefix: str) -> str:
    first = error.errors(include_url=False)[0]
    kind, value, place = first["type"], first["input"], first["loc"]
    own = str(first["ctx"]["error"]) if kind == "value_error" else ""
    if not place:
        return own
    # An argument without its name has its number.
    name = place[0] if isinstance(place[0], str) else tuple(fields)[place[0]]
    if kind == "unexpected_keyword_argument":
        return f"key must be one of {tuple(prefix + field for field in fields)}, not {prefix + name!r}"
    if kind == "missing":
        return f"key {prefix + name!r} must be given, not left out"
    rule = own or _RULES.get(kind) or _limits(fields[name]) or first["msg"].removeprefix("Input should be ")
    return f"{prefix}{name}{''.join(f'[{part}]' for part in place[1:])} must be {rule}, not {value!r}"


def _limits(field: Any) -> str:
    """All names that a field may be, or both bounds; pydantic says the one that is broken."""
    if get_origin(field.annotation) is Literal:
        return f"one of {get_args(field.annotation)}"
    bounds = {key: getattr(part, key) for part in field.metadata for key in ("ge", "le", "lt") if hasattr(part, key)}
    match bounds:
        case {"ge": low, "le": high}:
            return f"{low} to {high}"
        case {"ge": low, "lt": end}:
            return f"{low} to below {end}"
        case {"ge": low}:
            return f"at least {low}"
    return ""
