"""``twofold mutate rtl|python``: seeds faults and reports who finds them; build/mutation/report.json."""

import argparse
import json
import sys

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from twofold.mutation import python, rtl
from twofold.mutation.builds import BUILDS
from twofold.sim.tools import ToolError
from twofold.support.commands import Parser, failed
from twofold.support.console import run_command
from twofold.support.files import write_text
from twofold.support.output import build_folder

DESCRIPTION = "Seed faults and report who finds them."
EXAMPLES = (
    "twofold mutate                        netlist and Python, an hour",
    "twofold mutate rtl --count 100        fewer, in the netlist",
    "twofold mutate python --jobs 8        in Python, eight at a time",
)

OUTPUT = build_folder("mutation")
KINDS = ("rtl", "python")


def main(arguments: list[str] | None = None) -> int:
    """Seeds faults; returns 0 if the aim is met, 1 if not, 2 if it could not be run."""
    parser = Parser(prog="twofold mutate", description=DESCRIPTION, examples=EXAMPLES)
    parser.add_argument(
        "kinds", nargs="*", metavar="rtl|python", help="what to seed faults into; both if none is given"
    )
    parser.add_argument("--count", type=int, default=420, help="faults in the netlists of all builds together")
    parser.add_argument("--python-count", type=int, default=400, help="faults in Python, drawn of all; 0 for all")
    parser.add_argument("--seed", type=int, default=1, help="of the choice of faults and of all stimuli")
    parser.add_argument("--jobs", type=int, default=2, help="faults in Python that are tried side by side")
    options = parser.parse_args(arguments)
    for kind in options.kinds:
        if kind not in KINDS:
            parser.error(f"Kind must be one of {KINDS}, not {kind!r}")
    if options.count < len(BUILDS):
        parser.error(f"--count must be at least {len(BUILDS)}, not {options.count}")
    try:
        tables = {kind: _RUN[kind](options) for kind in options.kinds or KINDS}
    except (OSError, RuntimeError, ValueError, ToolError) as error:
        return failed(error)
    report = OUTPUT / "report.json"
    old = json.loads(report.read_text(encoding="utf-8")) if report.is_file() else {}
    write_text(report, json.dumps(old | tables, indent=2) + "\n")
    for kind, table in tables.items():
        print(
            f"{kind}: {table['mutants']} faults, {table['killed']} killed, {table['equivalent']} equivalent, "
            f"{table['survived']} survived: {table['score']:.1%} of those that change something"
        )
    print(f"report: {report}")
    return 0 if all(table["score"] >= AIM for table in tables.values()) else 1


def _rtl(options: argparse.Namespace) -> dict:
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True)) as progress:
        ran = list(rtl.campaigns(BUILDS, OUTPUT, count=options.count, seed=options.seed))
        for campaign in ran:
            campaign.run(progress)
    return rtl.summary(ran, seed=options.seed)


def _python(options: argparse.Namespace) -> dict:
    return python.run(OUTPUT / "python", count=options.python_count, seed=options.seed, workers=options.jobs)


_RUN = {"rtl": _rtl, "python": _python}
#: Share of the faults that change something which must be found.
AIM = 0.98

if __name__ == "__main__":
    sys.exit(run_command(main))
