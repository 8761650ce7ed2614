"""What every benchmark does when it is run by itself."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from twofold.support.commands import failed
from twofold.support.console import run_command


def run_benchmark(main: Callable[[], int]) -> int:
    """Runs a benchmark as a command; its exit code, or 2 after one line on stderr for what it refuses."""
    return run_command(lambda: _caught(main))


def data_folder(given: Path | None) -> Path:
    """The folder that an argument --data gives.

    Raises
    ------
    ValueError
        If it gives none.
    """
    if given is None or not given.is_dir():
        raise ValueError(f"Argument --data must be a folder, not {str(given or '')!r}")
    return given


def show_table(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table: names on the left, numbers on the right."""
    view = Table(title=title)
    for number, head in enumerate(heads):
        view.add_column(head, justify="right" if number else "left")
    for row in rows:
        view.add_row(*row)
    Console(width=None if sys.stdout.isatty() else 160).print(view, markup=False, highlight=False)


def _caught(main: Callable[[], int]) -> int:
    try:
        return main()
    except BrokenPipeError:
        raise
    except (OSError, RuntimeError, TypeError, ValueError) as error:
        return failed(str(error))
