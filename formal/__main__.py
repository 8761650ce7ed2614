"""``twofold prove [NAME ...]``: prove the hardware's properties, and see that each proof catches a seeded fault."""

import json
import sys
import time
from dataclasses import asdict

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from twofold.formal.properties import PROPERTIES
from twofold.formal.runner import OUTPUT, Obligation, ProofResult, obligations, run
from twofold.support.commands import Parser, failed
from twofold.support.console import run_command
from twofold.support.files import write_text
from twofold.support.jobs import Engine, Job, add_options, engine

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


def _proofs(todo: list[Obligation], engine: Engine, console: Console) -> list[list[ProofResult]]:
    """Every proof, a job each, with progress."""
    columns = (TextColumn("{task.description:50}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    jobs = [Job(_label(one), run, (one,), f"{number} {_label(one)}") for number, one in enumerate(todo)]
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        bar = progress.add_task("proofs", total=len(todo))

        def done(job: Job[list[ProofResult]], results: list[ProofResult]) -> None:
            progress.update(bar, advance=1, description=results[0].name)
            bad = [result for result in results if not result.good]
            if bad or not console.is_terminal:
                mark = "FAIL" if bad else "ok  "
                note = f": {bad[0].status}; {bad[0].message}" if bad else ""
                progress.console.print(f"{mark} {results[0].seconds:6.1f} s {job.name}{note}", highlight=False)

        return list(engine.results(jobs, done))


def _label(obligation: Obligation) -> str:
    first, *others = obligation.formats
    where = f"{first} and {len(others)} more" if len(others) > 2 else ", ".join(obligation.formats)
    return f"{obligation.checker.name}, {where}"


def main(arguments: list[str] | None = None) -> int:
    """Prove what is asked for; 1 if anything is not proven or a fault is not caught, 2 if it could not be run."""
    names = [checker.__name__ for checker in PROPERTIES]
    parser = Parser(prog="twofold prove", description=DESCRIPTION, examples=EXAMPLES)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(names)}; all if none is given")
    parser.add_argument("--short", action="store_true", help="the quick ones only, each for one build")
    add_options(parser, jobs=2)
    options = parser.parse_args(arguments)
    for name in options.names:
        if name not in names:
            parser.error(f"Property must be one of {tuple(names)}, not {name!r}")
    chosen = [checker for checker in PROPERTIES if not options.names or checker.__name__ in options.names]
    started = time.monotonic()
    console = Console()
    try:
        with engine(options) as used:
            todo = obligations([one for one in chosen if one.short or not options.short], short=options.short)
            results = [result for found in _proofs(todo, used, console) for result in found]
    except (OSError, RuntimeError, TypeError, ValueError) as error:
        return failed(error)
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
