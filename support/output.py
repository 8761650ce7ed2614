"""Where commands write if they are not told: one folder, which an option and an environment variable move."""

import os
from pathlib import Path

#: The variable; `twofold --build FOLDER` sets it for a command and all that it starts.
VARIABLE = "TWOFOLD_BUILD"


def build_folder(*parts: str) -> Path:
    """The folder for what is made, ``build`` below the current folder unless the variable says another, or a part."""
    return Path(os.environ.get(VARIABLE) or "build").joinpath(*parts)
