"""Results that are kept by what they were made from, so that nothing unchanged is made again."""

import hashlib
import json
from collections.abc import Callable
from functools import lru_cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from twofold.support.files import write_text
from twofold.support.reading import LARGEST, read_bytes


@lru_cache
def tool_version(package: str) -> str:
    """Version of a tool that pip installed."""
    return f"{package} {version(package)}"


def file_hash(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    return hashlib.sha256(read_bytes(path, LARGEST)).hexdigest()


def source_hash(*modules: str) -> str:
    """SHA-256 of the sources of modules: what they make is made again after any change to them."""
    paths = [spec.origin for spec in map(find_spec, modules) if spec is not None and spec.origin]
    if len(paths) != len(modules):
        raise ValueError(f"Modules must be files of Python, not {modules!r}")
    return hashlib.sha256("\0".join(file_hash(Path(path)) for path in paths).encode()).hexdigest()


def without_comments(verilog: str) -> str:
    """A design's text without the lines that are comments: a build's name and hash stand in them."""
    return "".join(line for line in verilog.splitlines(keepends=True) if not line.startswith("//"))


class Cache:
    """A folder of results, one subfolder for each key.

    Parameters
    ----------
    folder
        Where to keep them; made if missing.

    Attributes
    ----------
    made, found
        How many results were made, and how many were there, since this object was.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.made = 0
        self.found = 0

    def get(self, parts: list[str], make: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
        """The result for a key, made if it is not there.

        Parameters
        ----------
        parts
            Everything that the result depends on: texts, scripts, versions of tools.
        make
            Makes the result in an empty or half-filled folder that is its own; JSON must be able to hold it.
        """
        digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]
        folder = self.folder / digest
        result = folder / "result.json"
        if result.is_file():
            self.found += 1
            return json.loads(result.read_text(encoding="utf-8"))
        folder.mkdir(parents=True, exist_ok=True)
        value = make(folder)
        write_text(result, json.dumps(value, indent=1) + "\n")
        self.made += 1
        return json.loads(result.read_text(encoding="utf-8"))
