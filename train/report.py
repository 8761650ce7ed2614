"""Where the numbers of a training go: JSON lines, TensorBoard."""

import json
from collections.abc import Callable
from math import isfinite
from pathlib import Path

from twofold.support.digests import digest as digest_of
from twofold.support.files import write_text
from twofold.support.reading import read_bytes
from twofold.support.tables import parse_json

#: Called after each epoch with what happened in it.
Report = Callable[[dict[str, float]], None]


def json_lines(path: Path, *, keep: int = 0, source: Path | None = None, digest: str | None = None) -> Report:
    """Report that appends one JSON object a line to a file.

    Parameters
    ----------
    path
        The file.
    keep
        Lines of epochs up to this stay (a resumed run); the file is otherwise begun afresh.
    source
        File that they are in; ``None``: the same.
    digest
        That the kept lines must have (SHA-256); ``None``: any.

    Raises
    ------
    ValueError
        If the file is damaged, or the kept lines are others.
    """
    source = source or path
    lines = read_lines(source) if keep else []
    kept = "".join(_line(line) for line in lines if line["epoch"] <= keep)
    if digest is not None and digest_of(kept.encode()) != digest:
        raise ValueError(f"{source}: metrics must be those of the training's state, not damaged or of another run")
    write_text(path, kept)

    def report(metrics: dict[str, float]) -> None:
        with path.open("a", encoding="utf-8") as file:
            file.write(_line(metrics))

    return report


def _line(metrics: dict[str, float]) -> str:
    for name, value in metrics.items():
        if not isfinite(value):
            raise ValueError(f"Metrics must be finite numbers, not {name} = {value} in epoch {metrics['epoch']}")
    return json.dumps(metrics, allow_nan=False) + "\n"


def read_lines(path: Path) -> list[dict[str, float]]:
    """Lines of such a file; none where there is no file. A last line that was cut off is left out."""
    return parse_lines(path, read_bytes(path)) if path.exists() else []


def parse_lines(path: Path, data: bytes) -> list[dict[str, float]]:
    """Lines that such a file holds.

    Raises
    ------
    ValueError
        If it holds something else; the message begins with the path.
    """
    try:
        lines = [parse_json(line) for line in data.decode().splitlines(keepends=True) if line.endswith("\n")]
    except (RecursionError, ValueError) as error:
        raise ValueError(f"{path}: file must be JSON lines, not damaged: {error}") from error
    for line in lines:
        if not isinstance(line, dict) or not all(type(value) in (int, float) for value in line.values()):
            raise ValueError(f"{path}: line must be a table of numbers, not {line!r}")
        if type(line.get("epoch")) is not int:
            raise ValueError(f"{path}: epoch must be an integer, not {line.get('epoch')!r}")
    return lines


def tensorboard(folder: Path, *, keep: int = 0) -> Report:
    """Report that writes every number as a TensorBoard scalar; what an interrupted run wrote after `keep` is hidden."""
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(str(folder), purge_step=keep + 1 if keep else None)

    def report(metrics: dict[str, float]) -> None:
        for name, value in metrics.items():
            if name != "epoch":
                writer.add_scalar(name, value, int(metrics["epoch"]))
        writer.flush()

    return report


def both(*reports: Report) -> Report:
    """One report of several."""

    def report(metrics: dict[str, float]) -> None:
        for one in reports:
            one(metrics)

    return report
