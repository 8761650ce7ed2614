"""Files that belong together are those of one run, whatever else runs beside it."""

import fcntl
from collections.abc import Mapping
from pathlib import Path


def write_together(folder: Path, texts: Mapping[str, str]) -> None:
    """Write text files, by their names: all under temporary names first, then renamed, one process at a time."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        parts = {folder / f".{name}.part": folder / name for name in texts}
        try:
            for part, text in zip(parts, texts.values(), strict=True):
                part.write_text(text, encoding="utf-8")
            for part, path in parts.items():
                part.replace(path)
        finally:
            for part in parts:
                part.unlink(missing_ok=True)
