import os
from pathlib import Path

import pytest

from twofold.support.reading import read_bytes
from twofold.support.tables import read_json, read_toml


@pytest.mark.parametrize("read", [read_json, read_toml])
def test_pipes_folders_and_devices_are_refused(tmp_path, read):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, Path("/dev/zero")):
        with pytest.raises(ValueError) as caught:
            read(path)
        assert str(caught.value) == f"{path}: file must be a regular file, not a folder, pipe or device"
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "none")


def test_a_file_has_a_limit(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"12345")
    assert read_bytes(path, 5) == b"12345"
    with pytest.raises(ValueError) as caught:
        read_bytes(path, 4)
    assert str(caught.value) == f"{path}: file must have at most 4 bytes, not 5"


def test_nesting_has_a_limit(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("[" * 64 + "]" * 64)
    read_json(path)
    for depth in (65, 100_000):
        path.write_text("[" * depth + "]" * depth)
        with pytest.raises(ValueError) as caught:
            read_json(path)
        assert str(caught.value) == f"{path}: file must be JSON, not this: nesting must be at most 64 deep"
