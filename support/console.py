"""What every command does with its console: no traceback for a letter it lacks, none for a reader that has gone."""

import io
import os
import sys
from collections.abc import Callable


def prepare() -> None:
    """Letters that the console's encoding lacks are replaced."""
    # Python's standard error never fails on a letter.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def run_command(main: Callable[[], int]) -> int:
    """Runs a command; returns its exit code, or 0 if what read its output has closed the pipe."""
    prepare()
    try:
        try:
            return main()
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        # Python flushes once more when it ends: into nothing.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
