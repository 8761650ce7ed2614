"""Functions that tests have processes call."""

import os
import signal
from pathlib import Path


def square(number: int) -> int:
    return number * number


def process(number: int) -> int:
    return os.getpid()


def refuse(number: int) -> int:
    raise ValueError(f"Number must be none, not {number}")


def die(number: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return number


def die_once(mark: Path, number: int) -> int:
    """Kills the first process that calls it with a mark that is not there."""
    try:
        mark.touch(exist_ok=False)
    except FileExistsError:
        return square(number)
    return die(number)
