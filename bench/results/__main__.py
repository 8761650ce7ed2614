"""``twofold results``: measure the rows of `docs/results.md` that are not in the report yet."""

import argparse
import sys
from pathlib import Path

import torch

from twofold.bench.results import measure, table
from twofold.bench.results.rows import FOLDER, ROWS, Row, find_row
from twofold.bench.tools.console import data_folder, run_benchmark
from twofold.support.commands import Parser, complain, failed

REPORT = FOLDER / "report.json"
EXAMPLES = (
    "twofold results --list                       every row and its command",
    "twofold results --data DATA --row ROW        measure one",
)


def main(arguments: list[str] | None = None) -> int:
    """Run the program; 1 if a row fails, after the others have been run, 2 on wrong arguments."""
    options = _parser().parse_args(arguments)
    try:
        if options.list:
            for row in ROWS:
                command = " ".join(row.command(options.data or Path("DATA"), _further(row, options)))
                print(f"{row.key}: twofold train {command}")
            return 0
        if options.write:
            table.publish(table.read(table.SOURCE))
            return 0
        data_folder(options.data)
        torch.set_num_threads(options.threads)
        rows = [find_row(options.row)] if options.row else list(ROWS)
        if options.add is not None:
            if not options.row:
                raise ValueError("Argument --row must be given with --add, not left out")
            _keep([measure.entry(rows[0], options.add, options.data, options.seconds) | _note(_given(options))])
            return 0
        return _run(rows, options)
    except (ValueError, OSError) as error:
        return failed(error)


def _run(rows: list[Row], options: argparse.Namespace) -> int:
    failed = 0
    for row in rows:
        for one in (row.float_row, row):
            if one is None or one.key in {table.key(entry) for entry in table.read(REPORT)}:
                continue
            print(f"== {one.key}", flush=True)
            try:
                ready = measure.finished(one)
                seconds = None if ready else measure.run(one, options.data, _further(one, options), options.threads)
                entry = measure.entry(one, one.folder, options.data, seconds)
                _keep([entry if ready else entry | _note(_further(one, options))])
            except (RuntimeError, ValueError, OSError) as error:
                complain(error)
                failed += 1
                break
    print(table.tables(table.read(table.SOURCE)))
    print(f"report: {REPORT}")
    return 1 if failed else 0


def _given(options: argparse.Namespace) -> tuple[str, ...]:
    """Options of trainings that were given."""
    numbers = {"--epochs": options.epochs, "--steps": options.steps}
    given = [text for name, value in numbers.items() if value is not None for text in (name, str(value))]
    return (*given, *(["--bf16"] if options.bf16 else []))


def _further(row: Row, options: argparse.Namespace) -> tuple[str, ...]:
    """Options of a row's training that differ from the recipe: those given, or else the page's."""
    if row.recipe is not None and not row.trains:
        return ()
    return _given(options) or (() if options.full else row.schedule)


def _note(further: tuple[str, ...]) -> dict[str, str]:
    return {"note": f"with {' '.join(further)}"} if further else {}


def _keep(entries: list[table.Entry]) -> None:
    """Into the report, and into the documents."""
    table.write(REPORT, table.put(table.read(REPORT), entries))
    table.publish(table.put(table.read(table.SOURCE), entries))


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="twofold results",
        examples=EXAMPLES,
        description="Measure the rows of docs/results.md that build/results/report.json has not yet: by the page's "
        "short schedules (hours) or by the recipes' own (days).",
    )
    parser.add_argument("--data", metavar="FOLDER", type=Path, help="has cifar10, fashion_mnist, resnet20_cifar10")
    parser.add_argument("--row", metavar="ROW", help="only this one, as --list prints it")
    parser.add_argument("--full", action="store_true", help="the recipes' own schedules instead of the page's")
    parser.add_argument("--epochs", metavar="N", type=int, help="of each training, instead of the page's schedule")
    parser.add_argument("--steps", metavar="N", type=int, help="of each epoch, at most, instead of the page's schedule")
    parser.add_argument("--bf16", action="store_true", help="trainings compute in bfloat16 where that is safe")
    parser.add_argument("--threads", metavar="N", type=int, default=1, help="of torch (default: %(default)s)")
    other = parser.add_mutually_exclusive_group()
    other.add_argument("--list", action="store_true", help="print all rows and their commands")
    other.add_argument("--write", action="store_true", help="make docs/results.md from docs/results.json")
    other.add_argument("--add", metavar="RUN", type=Path, help="enter a run that is there already as --row")
    parser.add_argument("--seconds", metavar="S", type=float, help="what the run of --add took")
    return parser


if __name__ == "__main__":
    sys.exit(run_benchmark(main))
