"""NumPy's files, ``.npy`` and ``.npz``: nothing is unpickled, and sizes are looked at before anything is unpacked."""

import io
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twofold.support.reading import LARGEST, check_file, read_bytes

#: What the readers of NumPy and of zip files raise on damaged files.
_DAMAGED = (
    ArithmeticError,
    EOFError,
    LookupError,
    MemoryError,
    NotImplementedError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)


def read_npz(path: Path, limit: int = LARGEST) -> dict[str, NDArray[Any]]:
    """All arrays of an npz file, by their names.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is no such file, or its arrays have more than `limit` bytes; the message begins with the path.
    """
    check_file(path, limit)
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            size = sum(member.file_size for member in members)
            if size > limit:
                raise ValueError(f"arrays must have at most {limit} bytes, not {size}")
            return {member.filename.removesuffix(".npy"): _array(archive.read(member)) for member in members}
    except _DAMAGED as error:
        raise ValueError(f"{path}: file must be arrays of NumPy, not this: {error}") from error


def read_npy(path: Path, limit: int = LARGEST) -> NDArray[Any]:
    """The array of an npy file; raises like `read_npz`."""
    data = read_bytes(path, limit)
    try:
        return _array(data)
    except _DAMAGED as error:
        raise ValueError(f"{path}: file must be an array of NumPy, not this: {error}") from error


def _array(data: bytes) -> NDArray[Any]:
    file = io.BytesIO(data)
    version = np.lib.format.read_magic(file)
    read_header = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    if version not in read_header:
        raise ValueError(f"version must be one of {tuple(read_header)}, not {version}")
    shape, by_columns, kind = read_header[version](file)
    if kind.hasobject:
        raise ValueError("values must be numbers, not Python objects")
    count, left = 1, len(data) - file.tell()
    for side in shape:
        count *= side
    if min(shape, default=0) < 0 or count * kind.itemsize != left:
        raise ValueError(f"values must have {count * kind.itemsize} bytes, not {left}")
    values = np.frombuffer(data, kind, count, file.tell()) if left else np.empty(count, kind)
    return values.reshape(shape, order="F" if by_columns else "C").copy(order="A")
