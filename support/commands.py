"""What every command does with its arguments: examples in its help, and one style of errors."""

import argparse
import sys
import textwrap
from collections.abc import Sequence
from typing import NoReturn


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, as those of `failed`.

    Parameters
    ----------
    examples
        Command lines that the help shows at its end.
    """

    def __init__(self, *, examples: Sequence[str] = (), **options):
        epilog = "\n".join(["examples:", *(f"  {line}" for line in examples)]) if examples else None
        if options.get("description"):
            options["description"] = textwrap.fill(options["description"], 80)
        # Wrapped lines of examples could not be copied.
        super().__init__(epilog=epilog, formatter_class=argparse.RawDescriptionHelpFormatter, **options)

    def error(self, message: str) -> NoReturn:
        """End the process with exit code 2 after one line."""
        self.exit(2, f"error: {message}\n")


def complain(message: Exception | str) -> None:
    """Say on stderr what is wrong: on one line, but for the log that a tool's error ends in."""
    text = str(message) if isinstance(message, RuntimeError) else " ".join(str(message).split())
    print(f"error: {text}", file=sys.stderr)


def failed(error: Exception | str) -> int:
    """Say why a command could not do what was asked; its exit code, 2."""
    complain(error)
    return 2
