"""``python -m twofold COMMAND``, as the command ``twofold``."""

import sys

from twofold.command import run

if __name__ == "__main__":
    sys.exit(run())
