import errno
import os
from pathlib import Path

import pytest

from twofold.support.files import write_bytes, write_text


def test_a_file_is_written_whole_with_its_folders_and_mode(tmp_path):
    path = tmp_path / "a" / "b.sh"
    write_text(path, "é\n", mode=0o755)
    assert path.read_text(encoding="utf-8") == "é\n"
    assert path.stat().st_mode & 0o777 == 0o755
    assert os.listdir(path.parent) == ["b.sh"]


def test_an_equal_file_is_left_as_it_is(tmp_path):
    path = tmp_path / "a"
    write_text(path, "x")
    before = path.stat().st_ino
    write_text(path, "x")
    assert path.stat().st_ino == before
    write_text(path, "y")
    assert path.read_text() == "y"


def test_bytes_are_written_as_they_are(tmp_path):
    content = bytes(range(256)) + b"\r\n"
    (tmp_path / ".a.part").write_bytes(b"\x00")
    write_bytes(tmp_path / "a", content)
    before = (tmp_path / "a").stat().st_ino
    write_bytes(tmp_path / "a", content)
    assert (tmp_path / "a").read_bytes() == content
    assert (tmp_path / "a").stat().st_ino == before
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize("text", ["old", "new"])
def test_what_a_killed_run_has_left_goes(tmp_path, text):
    write_text(tmp_path / "a", "old")
    (tmp_path / ".a.part").write_text("ne")
    write_text(tmp_path / "a", text)
    assert (tmp_path / "a").read_text() == text
    assert os.listdir(tmp_path) == ["a"]


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    write_text(tmp_path / "a", "old")
    write = Path.write_bytes

    def full(path, content):
        write(path, content[:1])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        write_text(tmp_path / "a", "new")
    monkeypatch.undo()
    assert (tmp_path / "a").read_text() == "old"
    assert os.listdir(tmp_path) == ["a"]
