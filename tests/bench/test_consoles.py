"""Benchmarks run by themselves: one line for what they refuse, no traceback for a letter that the console lacks."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from twofold.bench.__main__ import NAMES
from twofold.bench.tools.console import run_benchmark


def run(*arguments, **environment):
    command = [sys.executable, "-m", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, env={**os.environ, **environment}, check=False)


def test_every_benchmark_is_wrapped():
    files = [Path(f"bench/{name}.py") for name in NAMES] + [Path("bench/results/__main__.py")]
    for file in files:
        assert file.read_text(encoding="utf-8").endswith("    sys.exit(run_benchmark(main))\n"), file


def test_a_wrong_build_is_one_line(tmp_path):
    (tmp_path / "größe.toml").write_text("rows = 3\n")
    done = run("twofold.bench.utilisation", "--config", tmp_path / "größe.toml", PYTHONIOENCODING="ascii")
    assert done.returncode == 2
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith("error: ") and line.endswith("must be given, not left out")


@pytest.mark.parametrize("error", [OSError("a\nb"), RuntimeError("a b"), TypeError("a b"), ValueError("a b")])
def test_what_a_benchmark_refuses_is_one_line(error, capsys):
    def main():
        raise error

    assert run_benchmark(main) == 2
    assert capsys.readouterr().err == "error: a b\n"
