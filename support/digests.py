"""Digests: SHA-256 of bytes, of files, and of what JSON can hold."""

import hashlib
import json
from collections.abc import Callable, Iterable
from pathlib import Path

from twofold.support.reading import LARGEST, read_bytes


def digest(data: bytes | Iterable[bytes]) -> str:
    """SHA-256 of bytes, in one piece or many, as 64 hexadecimal digits."""
    found = hashlib.sha256()
    for part in (data,) if isinstance(data, bytes) else data:
        found.update(part)
    return found.hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes; raises like `read_bytes`."""
    return digest(read_bytes(path, LARGEST))


def json_digest(value: object, *, default: Callable[[object], object] | None = None, finite: bool = True) -> str:
    """SHA-256 of a value as compact JSON with sorted keys.

    Parameters
    ----------
    value
        What JSON can hold.
    default
        Turns anything else into something that it can.
    finite
        Refuse numbers that are not finite, by a ValueError.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=not finite, default=default)
    return digest(text.encode())
