"""Text files that appear whole or not at all, one alone or several together."""

from collections.abc import Mapping
from pathlib import Path

from twofold.support.locks import locked


def write_text(path: Path, text: str, *, mode: int = 0o644) -> None:
    """Write a text file under a temporary name, then rename it; an equal file is left as it is.

    Folders are made as needed. What a killed run has left goes.
    """
    write_together(path.parent, {path.name: text}, mode=mode)


def write_together(folder: Path, texts: Mapping[str, str], *, mode: int = 0o644) -> None:
    """Write text files, by their names, as `write_text` does: none is renamed before all are written, and no other
    process writes in between."""
    parts = {folder / name: folder / f".{name}.part" for name in texts}
    if not any(part.exists() for part in parts.values()) and not _changed(folder, texts):
        return
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        try:
            changed = _changed(folder, texts)
            for path, text in changed.items():
                parts[path].write_text(text, encoding="utf-8")
                parts[path].chmod(mode)
            for path in changed:
                parts[path].replace(path)
        finally:
            for part in parts.values():
                part.unlink(missing_ok=True)


def _changed(folder: Path, texts: Mapping[str, str]) -> dict[Path, str]:
    paths = {folder / name: text for name, text in texts.items()}
    return {path: text for path, text in paths.items() if not (path.is_file() and path.read_bytes() == text.encode())}
