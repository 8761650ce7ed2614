"""What every benchmark does when it is run by itself."""

import sys
from collections.abc import Callable

from twofold.support.console import run_command


def run_benchmark(main: Callable[[], int]) -> int:
    """Runs a benchmark as a command; its exit code, or 2 after one line on stderr for what it refuses."""
    return run_command(lambda: _caught(main))


def _caught(main: Callable[[], int]) -> int:
    try:
        return main()
    except BrokenPipeError:
        raise
    except (OSError, RuntimeError, TypeError, ValueError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
