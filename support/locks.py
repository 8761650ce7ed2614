"""Locks on folders, which end with the process that holds them.

They are on the folders themselves: a lock file beside would be left in folders that are the user's, or be renamed with
what it locks.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

#: Device and number of each folder that this process has claimed.
_claimed: set[tuple[int, int]] = set()


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder against every other process that asks; waits for the one that holds it."""
    descriptor = _open(folder)
    try:
        if _name(descriptor) not in _claimed:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def made_and_locked(folder: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold a folder, made if it is not there, against every other process and thread, which may rename or remove it.

    Raises
    ------
    BlockingIOError
        If another holds it, and `wait` is false.
    """
    while True:
        # Not exist_ok: it looks a second time, when another may have removed the folder.
        with suppress(FileExistsError):
            folder.mkdir(parents=True)
        try:
            descriptor = _open(folder)
        except FileNotFoundError:
            if folder.is_symlink():
                raise
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            # Whoever held it before may have given it another name.
            if _still(folder, descriptor):
                yield
                return
        finally:
            os.close(descriptor)


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Hold a folder for the whole of a command; this process may still lock it, and claim it again.

    Raises
    ------
    BlockingIOError
        If another process holds it.
    """
    descriptor = _open(folder)
    name = _name(descriptor)
    mine = name not in _claimed
    try:
        if mine:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise BlockingIOError(f"{folder}: folder must be written by one command at a time, not two") from error
            _claimed.add(name)
        yield
    finally:
        if mine:
            _claimed.discard(name)
        os.close(descriptor)


def _open(folder: Path) -> int:
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY)


def _name(descriptor: int) -> tuple[int, int]:
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino


def _still(folder: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(folder.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
