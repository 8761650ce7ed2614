"""What a recipe's file takes over from another: ``base = "..."``."""

from pathlib import Path
from typing import Any

from twofold.support import resources
from twofold.support.tables import read_toml

#: Most files of a recipe: its own, its base, the base's base, and so on.
MOST = 8


def read_recipe(path: Path) -> tuple[dict[str, Any], tuple[Path, ...]]:
    """The tables of a recipe's file, merged with those of its bases; and the files, its own first.

    A base is a file, named relative to the one that names it and ending in ``.toml``, or a recipe that comes with the
    package, by its name; of several, later ones are merged over earlier ones. What `merged` says holds from file to
    file.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If a file is not TOML, a base is not there, bases lead back to a file, or they are more than `MOST` - 1.
    """
    files: list[Path] = []
    return _read(path, (), files), tuple(files)


def _read(path: Path, above: tuple[Path, ...], files: list[Path]) -> dict[str, Any]:
    """Tables of a file over those of its bases; `files` gets its name and theirs."""
    chain = (*above, path)
    shown = " -> ".join(str(file) for file in chain)
    if path.resolve() in [file.resolve() for file in above]:
        raise ValueError(f"{chain[0]}: base must not lead back to a file, not {shown}")
    if len(files) == MOST:
        raise ValueError(f"{chain[0]}: files must be at most {MOST}, not {shown}")
    files.append(path)
    own = read_toml(path)
    bases = own.pop("base", [])
    table: dict[str, Any] = {}
    for base in bases if isinstance(bases, list) else [bases]:
        table = merged(table, _read(_file(path, base), chain, files))
    return merged(table, own)


def merged(base: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """Tables of a file over those of its base.

    A key at the top takes the place of the base's; the name is never taken over. Of ``[train]``, ``[ptq]`` and
    ``[residual]``, each key does so for itself. The base's ``[[layer]]`` rules come first, then the file's own, but for
    those whose ``match`` the base has already: their ``weight`` or ``activation`` takes the place of the base's, and
    the rule stays where it is.
    """
    table = {key: value for key, value in base.items() if key != "name"} | own
    for key in ("train", "ptq", "residual"):
        if isinstance(base.get(key), dict) and isinstance(own.get(key), dict):
            table[key] = base[key] | own[key]
    if isinstance(base.get("layer"), list) and isinstance(own.get("layer"), list):
        table["layer"] = _rules(base["layer"], own["layer"])
    return table


def _rules(base: list[Any], own: list[Any]) -> list[Any]:
    rules = list(base)
    places = {rule["match"]: n for n, rule in enumerate(base) if _matches(rule)}
    for rule in own:
        if _matches(rule) and rule["match"] in places:
            place = places[rule["match"]]
            rules[place] = rules[place] | rule
        else:
            rules.append(rule)
    return rules


def _matches(rule: Any) -> bool:
    return isinstance(rule, dict) and isinstance(rule.get("match"), str)


def _file(path: Path, base: Any) -> Path:
    if not isinstance(base, str):
        raise ValueError(f"{path}: base must be a string or a list of them, not {base!r}")
    if base.endswith(".toml"):
        file = path.parent / base
        if not file.exists():
            raise ValueError(f"{path}: base must be a file that is there, not {str(file)!r}")
        return file
    names = {file.stem: file for file in resources.shipped("recipes")}
    if base not in names:
        raise ValueError(f"{path}: base must be a TOML file or one of {tuple(names)}, not {base!r}")
    return names[base]
