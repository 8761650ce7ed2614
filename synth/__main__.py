"""``twofold synth --config configs/log_8x8.toml``: what builds cost and how fast they are, component by component."""

import json
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from rich.console import Console

from twofold.golden.config import load_config
from twofold.support.commands import Parser, failed
from twofold.support.console import run_command
from twofold.support.files import write_text
from twofold.support.jobs import add_options, engine
from twofold.support.once import Store
from twofold.support.output import build_folder
from twofold.synth.fpga import TECHNOLOGIES
from twofold.synth.measure import ASIC, COMPONENTS, Measurement, measure_all
from twofold.synth.report import groups, picture, save_svg, table

EXAMPLES = (
    "twofold synth --config log_8x8 subset_8x8 --tech ecp5",
    "twofold synth --config log_8x8 --tech asic --liberty cells.lib",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure builds; returns the exit code."""
    parser = Parser(prog="twofold synth", description="Synthesise, place and route builds.", examples=EXAMPLES)
    parser.add_argument("--config", type=Path, nargs="+", required=True, help="builds, TOML files or names of configs/")
    parser.add_argument("--component", nargs="+", choices=COMPONENTS, default=COMPONENTS, help="only these")
    parser.add_argument("--tech", nargs="+", choices=(*TECHNOLOGIES, ASIC), help="default: all, asic with --liberty")
    parser.add_argument(
        "--liberty", type=Path, help="library of standard cells, a Liberty file (also packed with gzip)"
    )
    parser.add_argument("--no-route", action="store_true", help="count cells only, without place and route")
    add_options(parser)
    parser.add_argument("--out", type=Path, default=build_folder("synth"), help="folder to write to")
    options = parser.parse_args(arguments)
    console = Console(width=None if sys.stdout.isatty() else 160)
    try:
        technologies = options.tech or [*TECHNOLOGIES, *([ASIC] if options.liberty else [])]
        if ASIC in technologies and options.liberty is None:
            raise ValueError("Liberty file must be given for standard cells (LIBERTY=path), not left out")
        if not options.no_route:
            missing = [t.package for t in TECHNOLOGIES.values() if t.name in technologies and not find_spec(t.package)]
            if missing:
                console.print(f"no clock rates: {', '.join(missing)} not installed")
        configs = [load_config(path) for path in options.config]
        measurements = [
            Measurement(c, component, t) for c in configs for t in technologies for component in options.component
        ]
        store = Store(options.out / "cache")
        with engine(options) as chosen:
            rows = measure_all(
                measurements,
                store,
                chosen,
                liberty=options.liberty,
                route=not options.no_route,
                say=lambda row: console.print(f"{row['configuration']} {row['technology']} {row['component']}"),
            )
        for (configuration, technology), part in groups(rows).items():
            console.print(table(configuration, technology, part))
        report = options.out / "report.json"
        write_text(report, json.dumps({"rows": rows}, indent=2) + "\n")
        save_svg(picture(rows), options.out / "area.svg")
    except (OSError, RuntimeError, TypeError, ValueError) as error:
        return failed(error)
    console.print(f"results made {store.made}, kept from before {store.found}")
    console.print(f"report: {report}, picture: {options.out / 'area.svg'}")
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
