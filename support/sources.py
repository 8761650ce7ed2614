"""The sources of a module: its own file and those of everything that it imports of the same package, however far."""

import ast
from collections.abc import Iterable
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from twofold.support.digests import file_digest


def sources(*modules: str) -> dict[str, Path]:
    """Files by module: of these, of what they import of their top-level packages, and of the packages around them.

    Nothing is imported for it. Imports inside functions count, those for type checkers only do not.

    Raises
    ------
    ValueError
        If one of `modules` is no file of Python.
    """
    found: dict[str, Path] = {}
    waiting = [_need(module) for module in modules]
    while waiting:
        module, path = waiting.pop()
        if module in found:
            continue
        found[module] = path
        status = path.stat()
        for name in (*_around(module), *_imported(path, status.st_mtime_ns, status.st_size)):
            inner = _file(name) if name.partition(".")[0] == module.partition(".")[0] else None
            if inner is not None:
                waiting.append((name, inner))
    return dict(sorted(found.items()))


def source_digests(*modules: str) -> dict[str, str]:
    """SHA-256 of each of `sources`."""
    return {module: file_digest(path) for module, path in sources(*modules).items()}


def _need(module: str) -> tuple[str, Path]:
    path = _file(module)
    if path is None:
        raise ValueError(f"Modules must be files of Python, not {module!r}")
    return module, path


def _file(module: str) -> Path | None:
    """File of a module, found without importing the packages around it."""
    top, *inner = module.split(".")
    spec = find_spec(top)
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return None
    path = Path(spec.origin)
    if not inner:
        return path
    path = path.parent.joinpath(*inner)
    return next((file for file in (path / "__init__.py", path.with_name(path.name + ".py")) if file.is_file()), None)


def _around(module: str) -> Iterable[str]:
    parts = module.split(".")
    return (".".join(parts[:count]) for count in range(1, len(parts)))


@cache
def _imported(path: Path, _changed: int, _size: int) -> frozenset[str]:
    """Names that a file imports, modules and things in them alike."""
    names = set()
    waiting: list[ast.AST] = [ast.parse(path.read_bytes())]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            waiting += node.orelse
        else:
            waiting += ast.iter_child_nodes(node)
    return frozenset(names)
