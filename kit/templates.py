"""Files of `kit/files` with names between at signs, as in ``@TOP@``, that are replaced."""

import re
from collections.abc import Mapping
from pathlib import Path


def text(name: str) -> str:
    """A file as it is."""
    return (Path(__file__).parent / "files" / name).read_text(encoding="utf-8")


def fill(name: str, values: Mapping[str, object]) -> str:
    """A file with every name replaced by its value."""
    return re.sub(r"@([A-Z_]+)@", lambda match: str(values[match[1]]), text(name))
