"""Files that appear whole or not at all, one alone or several together."""

from collections.abc import Mapping
from pathlib import Path

from twofold.support.locks import locked


def write_text(path: Path, text: str, *, mode: int = 0o644) -> None:
    """Write a text file (UTF-8) as `write_bytes` does."""
    write_bytes(path, text.encode(), mode=mode)


def write_bytes(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Write a file under a temporary name, then rename it; an equal file is left as it is.

    Folders are made as needed. What a killed run has left goes.
    """
    _write(path.parent, {path.name: content}, mode)


def write_together(folder: Path, texts: Mapping[str, str], *, mode: int = 0o644) -> None:
    """Write text files, by their names, as `write_text` does: none is renamed before all are written, and no other
    process writes in between."""
    _write(folder, {name: text.encode() for name, text in texts.items()}, mode)


def _write(folder: Path, contents: Mapping[str, bytes], mode: int) -> None:
    parts = {folder / name: folder / f".{name}.part" for name in contents}
    if not any(part.exists() for part in parts.values()) and not _changed(folder, contents):
        return
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        try:
            changed = _changed(folder, contents)
            for path, content in changed.items():
                parts[path].write_bytes(content)
                parts[path].chmod(mode)
            for path in changed:
                parts[path].replace(path)
        finally:
            for part in parts.values():
                part.unlink(missing_ok=True)


def _changed(folder: Path, contents: Mapping[str, bytes]) -> dict[Path, bytes]:
    paths = {folder / name: content for name, content in contents.items()}
    return {path: content for path, content in paths.items() if not (path.is_file() and path.read_bytes() == content)}
