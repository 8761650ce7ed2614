"""Text files that appear whole or not at all."""

from pathlib import Path

from support.locks import locked


def write_text(path: Path, text: str, *, mode: int = 0o644) -> None:
    """Write a text file under a temporary name, then rename it; an equal file is left as it is.

    Folders are made as needed. What a killed run has left goes.
    """
    part = path.with_name(f".{path.name}.part")
    equal = path.is_file() and path.read_bytes() == text.encode()
    if equal and not part.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path.parent):
        try:
            if not equal:
                part.write_text(text, encoding="utf-8")
                part.chmod(mode)
                part.replace(path)
        finally:
            part.unlink(missing_ok=True)
