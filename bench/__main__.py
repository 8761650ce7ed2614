"""``twofold bench [NAME ...]``: run benchmarks one after the other and merge what they leave into one report."""

import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path

from twofold.support.commands import Parser, complain, failed
from twofold.support.console import run_command
from twofold.support.files import write_text
from twofold.support.output import build_folder

FOLDER = build_folder("bench")
#: Benchmarks by name.
NAMES = tuple(sorted(file.stem for file in Path(__file__).parent.glob("[a-z]*.py")))

EXAMPLES = (
    "twofold bench                          all, one after the other",
    "twofold bench sim_speed utilisation    two of them",
    "twofold bench area --help              the options of one",
)


def merge(folder: Path = FOLDER) -> Path:
    """Write ``report.json``: for each benchmark that has been run, its results under its name.

    A benchmark leaves ``NAME.json``; where that has a key NAME, the other keys say how it was measured.
    """
    report = {}
    for name in NAMES:
        file = folder / f"{name}.json"
        if file.is_file():
            table = json.loads(file.read_text(encoding="utf-8"))
            report[name] = table.get(name, table)
    write_text(folder / "report.json", json.dumps(report, indent=2) + "\n")
    return folder / "report.json"


def main(arguments: list[str] | None = None) -> int:
    """Run benchmarks, or one with options of its own; 1 if one fails, after all have been run."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if len(arguments) > 1 and arguments[0] in NAMES and arguments[1].startswith("-"):
        return import_module(f"twofold.bench.{arguments[0]}").main(arguments[1:])
    parser = Parser(prog="twofold bench", description="Run benchmarks; build/bench/report.json.", examples=EXAMPLES)
    parser.add_argument("names", metavar="NAME", nargs="*", help=f"of {', '.join(NAMES)} (default: all)")
    options = parser.parse_args(arguments)
    for name in options.names:
        if name not in NAMES:
            return failed(f"Benchmark must be one of {NAMES}, not {name!r}")
    wrong = []
    for name in options.names or NAMES:
        print(f"== {name}", flush=True)
        if subprocess.run([sys.executable, "-m", f"twofold.bench.{name}"]).returncode:
            wrong.append(name)
    print(f"report: {merge()}")
    for name in wrong:
        complain(f"Benchmark {name!r} failed")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(run_command(main))
