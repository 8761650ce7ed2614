"""A run's folder: one command at a time, the old run or the new one at any moment, and files that belong together."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from twofold.support.files import write_text
from twofold.support.locks import claimed, locked
from twofold.train.__main__ import main
from twofold.train.run_files import (
    FACTS,
    METRICS,
    STATE,
    WEIGHTS,
    part,
    read_bound,
    read_signed,
    replace_run,
    tidy,
    writing,
)
from twofold.train.runs import load_run, run_metrics

ROOT = Path(__file__).parents[2]
FIT = ["fit", "--device", "cpu", "--epochs", "2", "--steps", "3"]
LINE = '{"epoch": 1, "loss": 2.0}\n'
#: Replaces a run and is killed, at one file-system call after the other; prints what each kill has left.
SCRIPT = """
import os, sys
from pathlib import Path
from tests.support.killed import killed_at
from twofold.train.run_files import METRICS, STATE, WEIGHTS, part, read_bound, read_signed, replace_run, writing

folder = Path(sys.argv[1])
def save(name):
    with writing(folder):
        if sys.argv[2] == "metrics":
            part(folder / METRICS).write_text(name)
        replace_run(folder, name.encode(), {"version": 2, "name": name})
call = 0
while True:
    save("old")
    if not killed_at(call, lambda: save("new")):
        break
    facts = read_signed(folder / "run.json")
    assert read_bound(folder, WEIGHTS, facts["weights_sha256"]) == facts["name"].encode()
    if sys.argv[2] == "metrics":
        assert read_bound(folder, METRICS, facts["metrics_sha256"]) == facts["name"].encode()
    print(facts["name"])
    with writing(folder):
        assert (folder / WEIGHTS).read_bytes() == facts["name"].encode()
    assert sorted(os.listdir(folder)) == sorted(
        ["run.json", WEIGHTS, *((METRICS,) if sys.argv[2] == "metrics" else ())]
    )
    call += 1
"""


@pytest.mark.parametrize("metrics", ["metrics", "none"])
def test_a_kill_leaves_the_old_or_the_new_run_and_the_next_command_cleans_up(tmp_path, metrics):
    command = [sys.executable, "-c", SCRIPT, tmp_path / "run", metrics]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=ROOT)
    assert not done.returncode, done.stderr
    left = done.stdout.split()
    assert len(left) > 8
    assert left == sorted(left, reverse=True)
    assert set(left) == {"old", "new"}


def full(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("file", [WEIGHTS, FACTS])
def test_a_full_disk_leaves_the_old_run(tmp_path, monkeypatch, file):
    replace_run(tmp_path, b"old", {"version": 2})
    before = read_signed(tmp_path / FACTS)
    write = Path.write_bytes
    monkeypatch.setattr(Path, "write_bytes", lambda path, data: (full if file in path.name else write)(path, data))
    with pytest.raises(OSError, match="No space left"):
        replace_run(tmp_path, b"new", {"version": 2})
    assert read_signed(tmp_path / FACTS) == before
    assert sorted(os.listdir(tmp_path)) == [WEIGHTS, FACTS]
    assert (tmp_path / WEIGHTS).read_bytes() == b"old"


def test_fit_on_a_full_disk_is_one_line_and_the_older_run_stays(tmp_path, monkeypatch, capsys):
    out = tmp_path / "run"
    assert main([*FIT, "--out", str(out)]) == 0
    weights = (out / WEIGHTS).read_bytes()
    capsys.readouterr()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        assert main([*FIT, "--out", str(out), "--seed", "5"]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == "error: [Errno 28] No space left on device"
    assert (out / WEIGHTS).read_bytes() == weights
    load_run(out)
    assert [line["epoch"] for line in run_metrics(out)] == [1, 2]
    assert main([*FIT, "--out", str(out), "--seed", "5"]) == 0
    assert sorted(os.listdir(out)) == sorted([WEIGHTS, FACTS, METRICS, STATE])
    assert (out / WEIGHTS).read_bytes() != weights


HOLDER = """
import sys
from pathlib import Path
from twofold.train.run_files import writing
with writing(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("command", [FIT, ["ptq", "--recipe", "none.toml"]])
def test_two_commands_at_once(tmp_path, capsys, command):
    out = tmp_path / "run"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, out], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with holder:
        assert holder.stdout.readline() == "held\n"
        assert main([*command, "--out", str(out)]) == 2
        text = f"error: {out}: folder must be written by one command at a time, not two\n"
        assert capsys.readouterr().err == text
        assert os.listdir(out) == []
        holder.kill()
    assert main([*FIT, "--out", str(out)]) == 0


def test_the_holder_may_write_and_claim_again(tmp_path):
    with claimed(tmp_path), claimed(tmp_path), locked(tmp_path):
        write_text(tmp_path / "a", "x")
    with claimed(tmp_path):
        pass


def test_a_command_that_writes_nothing_leaves_no_folder(tmp_path, capsys):
    assert main([*FIT, "--out", str(tmp_path / "run"), "--lr", "-1"]) == 2
    assert main([*FIT, "--out", str(tmp_path / "run"), "--resume"]) == 2
    assert os.listdir(tmp_path) == []


def test_metrics_are_bound_to_their_run(tmp_path):
    part(tmp_path / METRICS).write_text(LINE)
    replace_run(tmp_path, b"", {"version": 2, "model": "demo", "data": "digits", "recipe": None})
    assert run_metrics(tmp_path) == [{"epoch": 1, "loss": 2.0}]
    (tmp_path / METRICS).write_text(LINE.replace("2.0", "2.5"))
    with pytest.raises(ValueError, match=r"checksum must be that of run\.json") as caught:
        run_metrics(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / METRICS}: ")
    replace_run(tmp_path, b"", {"version": 2, "model": "demo", "data": "digits", "recipe": None})
    assert run_metrics(tmp_path) == []
    assert not (tmp_path / METRICS).exists()


def test_facts_are_bound_to_themselves(tmp_path):
    replace_run(tmp_path, b"x", {"version": 2, "accuracy": 0.5})
    path = tmp_path / FACTS
    good = path.read_text()
    path.write_text(good.replace("0.5", "0.7"))
    with pytest.raises(ValueError, match=r"checksum must be .*: the file is damaged"):
        read_signed(path)
    path.write_text(good)
    with pytest.raises(ValueError, match=r"checksum must be that of run\.json"):
        read_bound(tmp_path, WEIGHTS, "0")


def test_metrics_of_another_training_are_not_gone_on_with(tmp_path, capsys):
    out = tmp_path / "run"
    assert main([*FIT, "--out", str(out)]) == 0
    lines = (out / METRICS).read_text()
    assert main([*FIT, "--out", str(out), "--resume"]) == 0
    assert (out / METRICS).read_text() == lines
    for damaged in (lines.replace('"loss": ', '"loss": 1'), ""):
        (out / METRICS).write_text(damaged)
        capsys.readouterr()
        assert main([*FIT, "--out", str(out), "--resume"]) == 2
        error = f"error: {out / METRICS}: metrics must be those of the training's state, not damaged or of another run"
        assert capsys.readouterr().err.splitlines()[-1] == error


def test_tidy_knows_nothing_of_a_folder_without_a_run(tmp_path):
    part(tmp_path / WEIGHTS).write_bytes(b"x")
    part(tmp_path / METRICS).write_text(LINE)
    for left in (part(tmp_path / STATE), tmp_path / f".{STATE}.part"):
        left.write_bytes(b"x")
    tidy(tmp_path)
    assert os.listdir(tmp_path) == [METRICS + ".part"]
    with writing(tmp_path, resume=True):
        assert part(tmp_path / METRICS).read_text() == LINE
    with writing(tmp_path):
        assert os.listdir(tmp_path) == []


def test_a_training_that_diverges_stops(tmp_path, capsys):
    out = tmp_path / "run"
    assert main([*FIT, "--out", str(out), "--optimizer", "sgd", "--lr", "1e30", "--steps", "0"]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: Training must keep a finite loss, not nan in epoch 1: take a smaller learning rate")
    for line in part(out / METRICS).read_text().splitlines() if part(out / METRICS).exists() else []:
        json.loads(line, parse_constant=pytest.fail)
