"""``twofold claims``: measure the rows of `docs/claims.md` that are not in its report yet."""

import argparse
import sys
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import Progress

from twofold.bench.claims import measure, table
from twofold.bench.claims.groups import GROUPS
from twofold.bench.claims.trials import Claim
from twofold.bench.tools.console import data_folder, run_benchmark
from twofold.bench.tools.entries import Entry
from twofold.support.commands import Parser, complain, failed
from twofold.support.files import write_text

REPORT = measure.FOLDER / "report.json"
EXAMPLES = (
    "twofold claims --list                              every group and its rows",
    "twofold claims --data DATA --group stlq-ratio      measure one group",
)


def main(arguments: list[str] | None = None) -> int:
    """Run the program; 1 if a row fails, after the others have been run, 2 on wrong arguments."""
    options = _parser().parse_args(arguments)
    try:
        chosen = _chosen(options.group)
        if options.list:
            for group in chosen:
                for trial in group.trials:
                    print(f"{group.key}: {trial.name}")
            return 0
        if options.write:
            table.publish(_all())
            return 0
        data_folder(options.data)
        torch.set_num_threads(options.threads)
        return _run(chosen, options)
    except (ValueError, OSError) as error:
        return failed(error)


def _chosen(keys: list[str]) -> list[Claim]:
    known = {group.key: group for group in GROUPS}
    for key in keys:
        if key not in known:
            raise ValueError(f"Group must be one of {tuple(known)}, not {key!r}")
    return [known[key] for key in keys] or list(GROUPS)


def _run(groups: list[Claim], options: argparse.Namespace) -> int:
    """Those that are not there yet, the first seed of all before the second of any."""
    ended = 0
    data = measure.load(options.data)
    seeds = sorted({seed for group in groups for seed in group.seeds})
    for seed, group in ((seed, group) for seed in seeds for group in groups if seed in group.seeds):
        for trial in group.trials:
            name = measure.row_name(group.key, trial.name, seed)
            if name in {measure.key(entry) for entry in _all()}:
                continue
            print(f"== {name}", flush=True)
            try:
                with Progress(console=Console(stderr=True), disable=not sys.stderr.isatty()) as progress:
                    entry = measure.measure(group, trial, seed, data[group.judged], options.data, progress)
            except (RuntimeError, ValueError) as error:
                complain(error)
                ended = 1
                continue
            pair = measure.compared(group, entry)
            entry |= dict(zip(("gained", "lost"), pair, strict=True)) if pair else {}
            print(f"{100 * entry['accuracy']:.2f} % in {entry['seconds']} s", flush=True)
            write_text(REPORT, table.text_of(table.put(table.read(REPORT), entry)))
    return ended


def _all() -> list[Entry]:
    """The page's entries, and over them those of the report."""
    entries = table.read(table.SOURCE)
    for entry in table.read(REPORT):
        entries = table.put(entries, entry)
    return entries


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="twofold claims",
        examples=EXAMPLES,
        description="Measure the rows of docs/claims.md that it and build/claims/report.json have not yet: minutes "
        "each. Going on after an interruption begins with the row that was not finished.",
    )
    parser.add_argument("--data", metavar="FOLDER", type=Path, help="has cifar10 and resnet20_cifar10")
    parser.add_argument("--group", metavar="GROUP", action="append", default=[], help="only this one (repeatable)")
    parser.add_argument("--threads", metavar="N", type=int, default=1, help="of torch (default: %(default)s)")
    other = parser.add_mutually_exclusive_group()
    other.add_argument("--list", action="store_true", help="print all groups and rows")
    other.add_argument("--write", action="store_true", help="enter the report into docs/claims.json and docs/claims.md")
    return parser


if __name__ == "__main__":
    sys.exit(run_benchmark(main))
