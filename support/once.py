"""What is built once: a folder for each key, made under a temporary name and renamed when it is whole.

The key is made of what the result is made by: sources, inputs and tools. What has the same key is not built again.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterable
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

from twofold.support.digests import digest, file_digest, json_digest
from twofold.support.files import write_text
from twofold.support.locks import made_and_locked
from twofold.support.sources import source_digests

#: Where a result is made, the mark there of one that has failed, and a value among the files made with it.
_PLACE, _FAILED, _VALUE = ".part", "failed", "result.json"


def key_of(*, modules: Iterable[str] = (), inputs: Iterable[object] = (), tools: Iterable[str | Path] = ()) -> str:
    """24 hexadecimal digits that are others whenever the result may be another.

    Parameters
    ----------
    modules
        Python modules that make it; what they import of their package counts as well (`support.sources`).
    inputs
        What it is made from: paths (the files' bytes), bytes, and what JSON can hold.
    tools
        Programs that make it: names of installed distributions (their versions) and paths of executables (their bytes).

    Raises
    ------
    FileNotFoundError
        If a file is not there.
    importlib.metadata.PackageNotFoundError
        If a distribution is not installed.
    ValueError
        If a module is no file of Python.
    """
    programs = [["file", file_digest(t)] if isinstance(t, Path) else [t, version(t)] for t in tools]
    return json_digest([source_digests(*modules), [_input(value) for value in inputs], programs])[:24]


def build_once(folder: Path, key: str, make: Callable[[Path], object]) -> Path:
    """The subfolder of `folder` that is named `key`, made if it is not there.

    Only one process, and one thread of it, makes it; others wait. What killed ones have left is cleared. If `make`
    raises, what it has written until then stays beside, so that logs can be read, until the next try.

    Parameters
    ----------
    folder
        Of all results of a kind; made if missing.
    key
        From `key_of`.
    make
        Fills the empty folder that it is given, which is renamed afterwards: nothing in it may name the folder.
    """
    result, place = folder / key, folder / f"{key}{_PLACE}"
    if not result.is_dir():
        with made_and_locked(place):
            if not result.is_dir():
                _make(place, make, result)
            place.rmdir()
    return result


def _make(place: Path, make: Callable[[Path], object], result: Path) -> None:
    _clear(place)
    _sweep(place)
    # Not the place itself: files are written under locks on their folder.
    draft = place / "made"
    draft.mkdir()
    try:
        make(draft)
    except Exception:
        (place / _FAILED).touch()
        raise
    except BaseException:
        shutil.rmtree(place, ignore_errors=True)
        raise
    os.rename(draft, result)


def _clear(place: Path) -> None:
    (place / _FAILED).unlink(missing_ok=True)
    for path in place.iterdir():
        shutil.rmtree(path)


def _sweep(mine: Path) -> None:
    """Remove what killed processes have left."""
    for place in mine.parent.glob(f"*{_PLACE}"):
        if place != mine and not (place / _FAILED).exists():
            with suppress(BlockingIOError), made_and_locked(place, wait=False):
                shutil.rmtree(place, ignore_errors=True)


class Made(NamedTuple):
    """A value that is kept, and the folder of the files that were made with it."""

    value: dict[str, Any]
    folder: Path


class Store:
    """A folder of values, each with files, by key.

    Parameters
    ----------
    folder
        Where to keep them; made if missing.

    Attributes
    ----------
    made, found
        How many values were made, and how many were there, since this object was.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.made = self.found = 0
        self._counting = Lock()

    def get(self, key: str, make: Callable[[Path], dict[str, Any]]) -> Made:
        """The value of a key, made as by `build_once`; JSON must be able to hold it."""
        made = False

        def write(folder: Path) -> None:
            nonlocal made
            write_text(folder / _VALUE, json.dumps(make(folder), indent=1) + "\n")
            made = True

        folder = build_once(self.folder, key, write)
        with self._counting:
            self.made += made
            self.found += not made
        return Made(json.loads((folder / _VALUE).read_text(encoding="utf-8")), folder)


def _input(value: object) -> object:
    if isinstance(value, Path):
        return ["file", file_digest(value)]
    if isinstance(value, bytes):
        return ["bytes", digest(value)]
    return ["json", value]
