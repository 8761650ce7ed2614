"""Files read whole, up to a limit; folders, pipes and devices are refused before they are opened."""

import gzip
import zlib
from pathlib import Path

#: Bytes of a file of text or tables, and of one of tensors or images.
LIMIT, LARGEST = 1 << 26, 1 << 30


def read_bytes(path: Path, limit: int = LIMIT) -> bytes:
    """Bytes of a regular file that holds at most `limit` bytes.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is something else, or longer.
    """
    check_file(path, limit)
    with open(path, "rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise ValueError(f"{path}: file must have at most {limit} bytes, not more")
    return data


def check_file(path: Path, limit: int = LIMIT) -> None:
    """Look at a file without opening it; raises like `read_bytes`."""
    if path.exists() and not path.is_file():
        raise ValueError(f"{path}: file must be a regular file, not a folder, pipe or device")
    size = path.stat().st_size
    if size > limit:
        raise ValueError(f"{path}: file must have at most {limit} bytes, not {size}")


def unpack(path: Path, limit: int = LIMIT) -> bytes:
    """Bytes of a file, unpacked if it is packed with gzip; the limit is that of both; raises like `read_bytes`."""
    data = read_bytes(path, limit)
    if data[:2] != b"\x1f\x8b":
        return data
    try:
        with gzip.open(path) as file:
            data = file.read(limit + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path}: file must be gzip, not damaged: {error}") from error
    if len(data) > limit:
        raise ValueError(f"{path}: file must unpack to at most {limit} bytes, not more")
    return data
