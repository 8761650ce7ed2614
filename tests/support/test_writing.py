from concurrent.futures import ProcessPoolExecutor

import pytest

from twofold.support.files import write_together

NAMES = ("a.v", "a.md", "a.json")


def write(folder, text):
    for _ in range(50):
        write_together(folder, dict.fromkeys(NAMES, text))


def test_two_runs_at_once_leave_the_files_of_one(tmp_path):
    texts = ["x" * 100_000, "y" * 100_000]
    with ProcessPoolExecutor(2) as pool:
        list(pool.map(write, [tmp_path] * 2, texts))
    found = {(tmp_path / name).read_text() for name in NAMES}
    assert len(found) == 1 and found < set(texts)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(NAMES)


def test_what_cannot_be_written_whole_leaves_the_old_files(tmp_path):
    write_together(tmp_path, dict.fromkeys(NAMES, "old"))
    with pytest.raises(UnicodeEncodeError):
        write_together(tmp_path, {"a.v": "new", "a.md": "new", "a.json": "\ud800"})
    assert {(tmp_path / name).read_text() for name in NAMES} == {"old"}
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(NAMES)
