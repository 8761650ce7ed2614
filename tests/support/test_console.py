"""What reads a command's output may go away before the end."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAINS = sorted(path for path in ROOT.glob("*/**/__main__.py") if path.parts[len(ROOT.parts)] != "build")
SCRIPT = """
import sys
from twofold.support.console import run_command
def main():
    for number in range(int(sys.argv[1])):
        print(number, "x" * 100)
    if sys.argv[2] == "exit":
        sys.exit(0)
    return 0
sys.exit(run_command(main))
"""


@pytest.mark.parametrize("lines", ["1", "10000"])
@pytest.mark.parametrize("way", ["return", "exit"])
def test_a_closed_pipe_ends_quietly(lines, way):
    command = [sys.executable, "-c", SCRIPT, lines, way]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT) as process:
        process.stdout.close()
        error = process.stderr.read()
    assert (process.returncode, error) == (0, b"")


def test_every_command_is_run_so():
    assert len(MAINS) >= 11
    ends = ("xit(run_command(main))", "xit(run_benchmark(main))", "xit(run())")
    assert [path for path in MAINS if not any(end in path.read_text() for end in ends)] == []
