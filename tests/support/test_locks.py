"""A lock on a folder holds although the folder is removed and made again meanwhile."""

import os
import threading

import pytest

from twofold.support.locks import made_and_locked


def test_a_folder_that_goes_between_two_looks_is_made_again(tmp_path, monkeypatch):
    folder, mkdir, calls = tmp_path / "a" / "b", os.mkdir, []

    def gone(path, mode=0o777):
        calls.append(path)
        if len(calls) == 1:
            raise FileExistsError(17, "File exists", str(path))
        mkdir(path, mode)

    monkeypatch.setattr("os.mkdir", gone)
    with made_and_locked(folder):
        assert folder.is_dir()
    assert len(calls) > 1


def test_threads_that_make_and_remove_a_folder_wait_for_each_other(tmp_path):
    folder, inside, most, errors = tmp_path / "a", [], [], []

    def work():
        try:
            for _ in range(200):
                with made_and_locked(folder):
                    inside.append(1)
                    most.append(len(inside))
                    inside.pop()
                    folder.rmdir()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors and len(most) == 1600 and max(most) == 1


@pytest.mark.parametrize("kind", ["file", "symlink"])
def test_what_is_no_folder_is_an_error(tmp_path, kind):
    path = tmp_path / "a"
    path.write_text("") if kind == "file" else path.symlink_to(tmp_path / "none")
    with pytest.raises(OSError, match="a"), made_and_locked(path):
        pass
