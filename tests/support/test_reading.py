"""Readers have limits: nothing larger is read or unpacked, and nothing that is no file is opened."""

import gzip
import os
import resource

import pytest

from twofold.support.reading import read_bytes, unpack

REGULAR = "file must be a regular file, not a folder, pipe or device"
READERS = {"bytes": read_bytes, "gzip": unpack}


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
def test_what_is_no_file_is_not_opened(tmp_path, name, kind):
    path = tmp_path / "a"
    {"pipe": os.mkfifo, "device": lambda path: path.symlink_to("/dev/zero"), "folder": os.mkdir}[kind](path)
    with pytest.raises(ValueError) as caught:
        READERS[name](path)
    assert str(caught.value) == f"{path}: {REGULAR}"
    with pytest.raises(FileNotFoundError):
        READERS[name](tmp_path / "none")


@pytest.mark.parametrize("name", READERS)
def test_what_is_too_large_is_not_read(tmp_path, name):
    path = tmp_path / "a"
    with open(path, "wb") as file:
        file.truncate(5 << 30)
    with pytest.raises(ValueError) as caught:
        READERS[name](path)
    assert str(caught.value).startswith(f"{path}: file must have at most ")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 4 << 20


def test_gzip_is_unpacked_up_to_the_limit(tmp_path):
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(b"x" * 1000))
    assert unpack(path, 1000) == b"x" * 1000
    with pytest.raises(ValueError) as caught:
        unpack(path, 999)
    assert str(caught.value) == f"{path}: file must unpack to at most 999 bytes, not more"
    path.write_bytes(gzip.compress(b"x" * 1000)[:-9])
    with pytest.raises(ValueError, match="file must be gzip, not damaged: "):
        unpack(path)
    path.write_bytes(b"plain")
    assert unpack(path) == b"plain"
