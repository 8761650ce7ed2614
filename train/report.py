"""Where the numbers of a training go: JSON lines, TensorBoard."""

import json
from collections.abc import Callable
from pathlib import Path

from support.files import write_text

#: Called after each epoch with what happened in it.
Report = Callable[[dict[str, float]], None]


def json_lines(path: Path, *, keep: int = 0) -> Report:
    """Report that appends one JSON object a line to a file.

    Parameters
    ----------
    path
        The file.
    keep
        Lines of epochs up to this stay (a resumed run); the file is otherwise begun afresh.
    """
    kept = [json.dumps(line) + "\n" for line in read_lines(path) if line["epoch"] <= keep] if keep else []
    write_text(path, "".join(kept))

    def report(metrics: dict[str, float]) -> None:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(metrics) + "\n")

    return report


def read_lines(path: Path) -> list[dict[str, float]]:
    """Lines of such a file; none where there is no file. A last line that was cut off is left out."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.is_file() else []
    try:
        return [json.loads(line) for line in lines if line.endswith("\n")]
    except ValueError as error:
        raise ValueError(f"{path}: file must be JSON lines, not damaged: {error}") from error


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
