"""Locks on folders, which end with the process that holds them."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: Device and number of each folder that this process has claimed.
_claimed: set[tuple[int, int]] = set()


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder against every other process that asks; waits for the one that holds it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if _name(descriptor) not in _claimed:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
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
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
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


def _name(descriptor: int) -> tuple[int, int]:
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino
