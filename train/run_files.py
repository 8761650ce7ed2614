"""The files of a run's folder, which belong together: at any moment those of the older run or of the new one.

``run.json`` has the digests of the other files. These are first written under names that end in ``.part``. They are the
run's own from the moment in which ``run.json`` is replaced; only after that are they given their names.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from twofold.support.digests import digest, json_digest
from twofold.support.files import write_text
from twofold.support.locks import claimed
from twofold.support.reading import LARGEST, read_bytes
from twofold.support.tables import read_json

WEIGHTS, FACTS, METRICS, STATE = "model.safetensors", "run.json", "metrics.jsonl", "state.safetensors"
#: Keys of the facts that are digests: of the weights, of the metrics (or ``None``), of all other keys.
WEIGHTS_DIGEST, METRICS_DIGEST, OWN_DIGEST = "weights_sha256", "metrics_sha256", "sha256"
_BOUND = ((WEIGHTS, WEIGHTS_DIGEST), (METRICS, METRICS_DIGEST))


def part(file: Path) -> Path:
    """Where a file is written before it gets its name."""
    return file.with_name(file.name + ".part")


@contextmanager
def writing(folder: Path, *, resume: bool = False) -> Iterator[None]:
    """Hold a run's folder, which is made if need be, for the whole of a command, and clear what a killed one has left.

    Parameters
    ----------
    folder
        Of the run.
    resume
        Keep the metrics of an interrupted training.

    Raises
    ------
    BlockingIOError
        If another command holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with claimed(folder):
        tidy(folder)
        metrics = part(folder / METRICS)
        if not resume:
            metrics.unlink(missing_ok=True)
        try:
            yield
        finally:
            with suppress(OSError):
                if not metrics.stat().st_size:
                    metrics.unlink()
            with suppress(OSError):
                folder.rmdir()  # if nothing was written


def replace_run(folder: Path, weights: bytes, facts: dict[str, Any]) -> None:
    """Put a run in the place of the one in the folder, if there is one; metrics in a ``.part`` file are the new run's.

    Raises
    ------
    OSError
        If it cannot be written, or another command holds the folder; the older run is then as it was.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with claimed(folder):
        tidy(folder)
        try:
            part(folder / WEIGHTS).write_bytes(weights)
            metrics = part(folder / METRICS)
            lines = digest(metrics.read_bytes()) if metrics.is_file() else None
            write_text(folder / FACTS, sign(facts | {WEIGHTS_DIGEST: digest(weights), METRICS_DIGEST: lines}))
            for file in (folder / WEIGHTS, folder / METRICS):
                if part(file).exists():
                    part(file).replace(file)
        finally:
            tidy(folder)


def sign(facts: dict[str, Any]) -> str:
    """Text of the facts with their own digest."""
    facts = {key: value for key, value in facts.items() if key != OWN_DIGEST}
    return json.dumps(facts | {OWN_DIGEST: _own(facts)}, indent=1, sort_keys=True, allow_nan=False) + "\n"


def read_signed(path: Path) -> dict[str, Any]:
    """Facts without their own digest, which must be right; those of version 1 have none.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no such file, or it is damaged.
    """
    facts = read_json(path)
    if not isinstance(facts, dict) or "version" not in facts:
        raise ValueError(f"{path}: file must be a run's JSON with a version, not damaged")
    stated = facts.pop(OWN_DIGEST, None)
    if facts["version"] == 2 and stated != _own(facts):
        raise ValueError(f"{path}: checksum must be {_own(facts)!r}, not {stated!r}: the file is damaged")
    return facts


def read_bound(folder: Path, name: str, stated: str | None) -> bytes:
    """Bytes of a run's file, which must have the stated digest (``None``: any).

    Raises
    ------
    ValueError
        If it has not.
    """
    file = folder / name
    # Another command may be giving it its name.
    for path in (file, part(file), file):
        if path.exists():
            data = read_bytes(path, LARGEST)
            if stated is None or digest(data) == stated:
                return data
    raise ValueError(f"{file}: checksum must be that of {FACTS}, {stated!r}: the file is damaged or of another run")


def tidy(folder: Path) -> None:
    """Finish or undo what is half done; only the holder of the folder may."""
    try:
        facts = read_signed(folder / FACTS)
    except (FileNotFoundError, ValueError):
        facts = {}
    for name, key in _BOUND:
        file = part(folder / name)
        if key in facts and _has(file, facts[key]) and not _has(folder / name, facts[key]):
            file.replace(folder / name)
        elif name == WEIGHTS:
            file.unlink(missing_ok=True)
    for left in (f".{FACTS}.part", f".{METRICS}.part.part", f".{STATE}.part", f"{STATE}.part"):
        (folder / left).unlink(missing_ok=True)
    if METRICS_DIGEST in facts and facts[METRICS_DIGEST] is None:
        (folder / METRICS).unlink(missing_ok=True)  # an older run's


def _has(file: Path, wanted: str | None) -> bool:
    return file.is_file() and digest(read_bytes(file, LARGEST)) == wanted


def _own(facts: dict[str, Any]) -> str:
    return json_digest(facts, finite=False)
