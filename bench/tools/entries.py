"""Reports that are lists of measured rows, which commands go on with and pages are made of."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

Entry = dict[str, Any]


def read_entries(file: Path, key: Callable[[Entry], str]) -> list[Entry]:
    """Entries of a report; none where there is no file.

    Raises
    ------
    ValueError
        If it is no list of entries, which all have a key.
    """
    if not file.is_file():
        return []
    try:
        entries = json.loads(file.read_text(encoding="utf-8"))
        for entry in entries:
            key(entry)
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{file}: file must be a list of results, not this: {error!r}") from error
    return list(entries)
