"""``twofold prove [NAME ...]``: prove the hardware's properties, and see that each proof catches a seeded fault."""

import json
import multiprocessing
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from twofold.formal.properties import PROPERTIES
from twofold.formal.runner import OUTPUT, ProofResult, obligations, run
from twofold.support.commands import Parser, failed
from twofold.support.console import run_command
from twofold.support.files import write_text

DESCRIPTION = "Prove the hardware's properties, and see that each proof catches a seeded fault."
EXAMPLES = (
    "twofold prove            all, minutes",
    "twofold prove --short    the quick ones, each for one build",
)


def _table(results: list[ProofResult]) -> Table:
    table = Table("property", "builds", "requirements", "faults caught", "seconds", "status", title="make formal")
    for name in dict.fromkeys(result.name for result in results):
        rows = [result for result in results if result.name == name]
        status = "proven" if all(row.status == "proven" for row in rows) else "NOT PROVEN"
        caught = sum(row.seeded_fault_caught for row in rows)
        table.add_row(
            name,
            str(len(rows)),
            str(max(row.requirements for row in rows)),
            f"{caught} of {len(rows)}" if caught < len(rows) else f"all {rows[0].faults}",
            f"{sum(row.seconds for row in rows):.1f}",
            status,
        )
    return table


def main(arguments: list[str] | None = None) -> int:
    """Prove what is asked for; 1 if anything is not proven or a fault is not caught, 2 if it could not be run."""
    names = [checker.__name__ for checker in PROPERTIES]
    parser = Parser(prog="twofold prove", description=DESCRIPTION, examples=EXAMPLES)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(names)}; all if none is given")
    parser.add_argument("--short", action="store_true", help="the quick ones only, each for one build")
    parser.add_argument("--jobs", type=int, default=2, help="proofs at a time")
    options = parser.parse_args(arguments)
    for name in options.names:
        if name not in names:
            parser.error(f"Property must be one of {tuple(names)}, not {name!r}")
    chosen = [checker for checker in PROPERTIES if not options.names or checker.__name__ in options.names]
    started = time.monotonic()
    console = Console()
    try:
        todo = obligations([checker for checker in chosen if checker.short or not options.short], short=options.short)
    except (OSError, TypeError, ValueError) as error:
        return failed(error)
    found: dict[int, list[ProofResult]] = {}
    columns = (TextColumn("{task.description:50}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    context = multiprocessing.get_context("spawn")
    with (
        Progress(*columns, console=console, disable=not console.is_terminal) as progress,
        ProcessPoolExecutor(options.jobs, mp_context=context) as pool,
    ):
        bar = progress.add_task("proofs", total=len(todo))
        futures = {pool.submit(run, obligation): number for number, obligation in enumerate(todo)}
        for future in as_completed(futures):
            obligation = todo[futures[future]]
            found[futures[future]] = results = future.result()
            progress.update(bar, advance=1, description=obligation.checker.name)
            bad = [result for result in results if not result.good]
            mark = "FAIL" if bad else "ok  "
            if bad or not console.is_terminal:
                note = f": {bad[0].status}; {bad[0].message}" if bad else ""
                where = (
                    ", ".join(obligation.formats)
                    if len(obligation.formats) <= 3
                    else f"{obligation.formats[0]} and {len(obligation.formats) - 1} more"
                )
                progress.console.print(
                    f"{mark} {results[0].seconds:6.1f} s {obligation.checker.name}, {where}{note}", highlight=False
                )
    results = [result for number in sorted(found) for result in found[number]]
    console.print(_table(results))
    good = sum(result.good for result in results)
    report = {"properties": [asdict(result) for result in results], "seconds": round(time.monotonic() - started, 1)}
    write_text(OUTPUT / "report.json", json.dumps(report, indent=2) + "\n")
    print(
        f"{good} of {len(results)} proven and able to fail in {time.monotonic() - started:.0f} s; "
        f"{OUTPUT / 'report.json'}"
    )
    return 0 if results and good == len(results) else 1


if __name__ == "__main__":
    sys.exit(run_command(main))
