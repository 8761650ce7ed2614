"""Folders that are replaced whole: the old or the new one is there at any moment, or comes back with the next run."""

import ctypes
import errno
import glob
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from twofold.support.locks import locked

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2
#: What systems and file systems say that cannot exchange two names.
_UNABLE = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EPERM)


def replace_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write a folder of these files, by their paths in it, in place of the one of that name, if there is one.

    Raises
    ------
    OSError
        If it cannot be written; the older folder is then as it was.
    """
    # A link stays, and what it names is replaced.
    folder = Path(os.path.realpath(folder))
    folder.parent.mkdir(parents=True, exist_ok=True)
    with locked(folder.parent):
        _settle(folder)
        _clear_older(folder, set(files))
        try:
            draft = _draft(folder)
            draft.mkdir()
            for name, content in files.items():
                (draft / name).parent.mkdir(parents=True, exist_ok=True)
                (draft / name).write_bytes(content)
            _swap(draft, folder)
        finally:
            _settle(folder)


def recover(folder: Path) -> None:
    """Bring a folder back that a killed run had moved aside; to be called before it is read."""
    folder = Path(os.path.realpath(folder))
    if not folder.exists() and _aside(folder).exists():
        with locked(folder.parent):
            _settle(folder)


def _draft(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.twofold-draft")


def _aside(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.twofold-old")


def _settle(folder: Path) -> None:
    """Undo what is half done; only the holder of the lock may."""
    if _aside(folder).exists() and not folder.exists():
        os.rename(_aside(folder), folder)
    for path in (_aside(folder), _draft(folder)):
        shutil.rmtree(path, ignore_errors=True)


def _clear_older(folder: Path, names: set[str]) -> None:
    """Remove drafts that killed runs of older versions have left: `.NAME.` and eight letters of `tempfile`."""
    for path in folder.parent.glob(f".{glob.escape(folder.name)}.????????"):
        letters = path.name.removeprefix(f".{folder.name}.")
        if re.fullmatch("[a-z0-9_]{8}", letters) and path.is_dir() and {file.name for file in path.iterdir()} <= names:
            shutil.rmtree(path, ignore_errors=True)


def _swap(draft: Path, folder: Path) -> None:
    if not folder.exists():
        os.rename(draft, folder)
    elif not _exchange(draft, folder):
        # A folder cannot be renamed over a full one.
        os.rename(folder, _aside(folder))
        os.rename(draft, folder)


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two names in one step; whether the system can."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    if rename(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in _UNABLE:
        return False
    raise OSError(code, os.strerror(code), str(other))
