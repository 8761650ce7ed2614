import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from twofold.support import folders
from twofold.support.folders import recover, replace_folder

OLD, NEW = {"a": b"old", "b": b"older"}, {"a": b"new", "c": b"newer"}
#: Replaces a folder and is killed, at one file-system call after the other; prints what each kill has left.
SCRIPT = """
import os, shutil, sys
from pathlib import Path
from twofold.golden import container, image_folder
from twofold.golden.config import ArrayConfig
from twofold.testing.random_network import random_network
from twofold.support import folders
from tests.golden.test_image import image
from tests.support.killed import killed_at
from dataclasses import replace

kind, way, parent = sys.argv[1], sys.argv[2], Path(sys.argv[3])
if way == "rename":
    folders._exchange = lambda *_: False
config = ArrayConfig(name="log", pe="log", rows=4, cols=4, word_bits=3)
if kind == "network":
    module, things, name = container, [random_network(n, config) for n in range(2)], "network.json"
else:
    module, things, name = image_folder, [image(), replace(image(), network="new")], "manifest.json"
texts = []
for thing in things:
    module.save(thing, parent / "thing")
    texts.append((parent / "thing" / name).read_text())
call = 0
while True:
    module.save(things[0], parent / "thing")
    if not killed_at(call, lambda: module.save(things[1], parent / "thing")):
        break
    module.load(parent / "thing")
    print(["old", "new"][texts.index((parent / "thing" / name).read_text())])
    module.save(things[0], parent / "thing")
    assert os.listdir(parent) == ["thing"], os.listdir(parent)
    call += 1
"""


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(params=["exchange", "rename"])
def way(request, monkeypatch):
    if request.param == "rename":
        monkeypatch.setattr(folders, "_exchange", lambda *_: False)
    return request.param


@pytest.mark.parametrize("way", ["exchange", "rename"])
@pytest.mark.parametrize("kind", ["network", "image"])
def test_a_kill_leaves_the_old_or_the_new_one_and_the_next_run_cleans_up(tmp_path, kind, way):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, kind, way, tmp_path], capture_output=True, text=True, timeout=300
    )
    assert not done.returncode, done.stderr
    left = done.stdout.split()
    assert len(left) > 8
    assert left == sorted(left, reverse=True)
    assert set(left) == {"old", "new"}


def test_a_folder_is_made_and_replaced(tmp_path, way):
    for files in (OLD, NEW):
        replace_folder(tmp_path / "sub" / "x", files)
        assert contents(tmp_path / "sub" / "x") == files
        assert os.listdir(tmp_path / "sub") == ["x"]


def test_a_link_stays_and_what_it_names_is_replaced(tmp_path, way):
    replace_folder(tmp_path / "x", OLD)
    (tmp_path / "link").symlink_to("x")
    replace_folder(tmp_path / "link", NEW)
    assert (tmp_path / "link").is_symlink()
    assert contents(tmp_path / "x") == NEW
    assert sorted(os.listdir(tmp_path)) == ["link", "x"]


@pytest.mark.parametrize("exists", [False, True])
def test_a_full_disk_leaves_the_old_folder_and_nothing_else(tmp_path, monkeypatch, way, exists):
    if exists:
        replace_folder(tmp_path / "x", OLD)
    write = Path.write_bytes

    def full(path, content):
        write(path, content[:1])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        replace_folder(tmp_path / "x", NEW)
    monkeypatch.undo()
    assert os.listdir(tmp_path) == (["x"] if exists else [])
    assert not exists or contents(tmp_path / "x") == OLD


def test_a_failed_rename_puts_the_old_folder_back(tmp_path, monkeypatch):
    monkeypatch.setattr(folders, "_exchange", lambda *_: False)
    replace_folder(tmp_path / "x", OLD)
    rename, calls = os.rename, []

    def failing(source, target):
        calls.append(source)
        if len(calls) == 2:
            raise OSError("disk")
        rename(source, target)

    monkeypatch.setattr(os, "rename", failing)
    with pytest.raises(OSError, match="disk"):
        replace_folder(tmp_path / "x", NEW)
    assert contents(tmp_path / "x") == OLD
    assert os.listdir(tmp_path) == ["x"]


def test_a_folder_that_was_moved_aside_comes_back(tmp_path):
    replace_folder(tmp_path / "x", OLD)
    (tmp_path / "x").rename(tmp_path / ".x.twofold-old")
    recover(tmp_path / "x")
    assert contents(tmp_path / "x") == OLD
    assert os.listdir(tmp_path) == ["x"]
    recover(tmp_path / "none")
    assert os.listdir(tmp_path) == ["x"]


def test_writers_wait_for_each_other(tmp_path):
    text = "import sys; from pathlib import Path; from twofold.support.folders import replace_folder\n"
    text += "for _ in range(40): replace_folder(Path(sys.argv[1]), {n: sys.argv[2].encode() for n in 'abcdefgh'})"
    writers = [subprocess.Popen([sys.executable, "-c", text, tmp_path / "x", mark]) for mark in "12"]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    assert len(set(contents(tmp_path / "x").values())) == 1
    assert os.listdir(tmp_path) == ["x"]


def test_drafts_of_older_versions_go_and_other_folders_stay(tmp_path):
    draft, other, letters = (tmp_path / name for name in (".x.ab12_xyz", ".x.personal", ".x.tooLong9"))
    for path, name in ((draft, "a"), (other, "mine"), (letters, "a")):
        path.mkdir()
        (path / name).write_bytes(b"")
    replace_folder(tmp_path / "x", OLD)
    assert sorted(os.listdir(tmp_path)) == sorted(["x", other.name, letters.name])


def test_files_in_folders_within(tmp_path, way):
    replace_folder(tmp_path / "x", {"a": b"old", "in/a": b"1", "in/deep/b": b"2"})
    replace_folder(tmp_path / "x", {"in/deep/b": b"3"})
    found = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert (found, (tmp_path / "x" / "in" / "deep" / "b").read_bytes()) == ({"x/in/deep/b"}, b"3")
