"""``twofold bench [NAME ...]``: run benchmarks one after the other and merge what they leave into one report."""

import argparse
import json
import subprocess
import sys
from pathlib import Path

from twofold.support.console import run_command
from twofold.support.files import write_text

FOLDER = Path("build/bench")
#: Benchmarks by name.
NAMES = tuple(sorted(file.stem for file in Path(__file__).parent.glob("[a-z]*.py")))


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
    """Run benchmarks; 1 if one fails, after all have been run."""
    parser = argparse.ArgumentParser(prog="twofold bench", description="Run benchmarks; build/bench/report.json.")
    parser.add_argument("names", metavar="NAME", nargs="*", help=f"of {', '.join(NAMES)} (default: all)")
    options = parser.parse_args(arguments)
    for name in options.names:
        if name not in NAMES:
            print(f"error: Benchmark must be one of {NAMES}, not {name!r}", file=sys.stderr)
            return 2
    failed = []
    for name in options.names or NAMES:
        print(f"== {name}", flush=True)
        if subprocess.run([sys.executable, "-m", f"twofold.bench.{name}"]).returncode:
            failed.append(name)
    print(f"report: {merge()}")
    for name in failed:
        print(f"error: Benchmark {name!r} failed", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(run_command(main))
