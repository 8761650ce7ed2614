"""Files that belong together are those of one run, whatever else runs beside it."""

from collections.abc import Mapping
from pathlib import Path

from support.locks import locked


def write_together(folder: Path, texts: Mapping[str, str]) -> None:
    """Write text files, by their names: all under temporary names first, then renamed, one process at a time."""
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        parts = {folder / f".{name}.part": folder / name for name in texts}
        try:
            for part, text in zip(parts, texts.values(), strict=True):
                part.write_text(text, encoding="utf-8")
            for part, path in parts.items():
                part.replace(path)
        finally:
            for part in parts:
                part.unlink(missing_ok=True)
