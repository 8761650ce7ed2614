"""``twofold demo``: train, quantize, export, emit, simulate, verify, on real images; one table at the end."""

import argparse
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from twofold.demo import report
from twofold.demo.steps import command
from twofold.demo.variants import VARIANTS, run_variant
from twofold.support.commands import Parser, complain, failed
from twofold.support.console import run_command
from twofold.support.output import build_folder
from twofold.train import pipelines
from twofold.train.data import handwritten_digits
from twofold.train.runs import use_threads

EXAMPLES = (
    "twofold demo                                    all held-out images (2 to 3 minutes)",
    "twofold demo --rtl-images 100 --out elsewhere    fewer of them in the simulator",
)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The options."""
    parser = Parser(prog="twofold demo", description="The main job on real images.", examples=EXAMPLES)
    parser.add_argument("--out", type=Path, default=build_folder("demo"), help="folder to write to")
    parser.add_argument("--rtl-seconds", type=float, default=40.0, help="RTL simulation a variant, at least 100 images")
    parser.add_argument("--rtl-images", type=int, help="most held-out images for the RTL (all)")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Run the demo; exit code 1 if any integer, cycle count or multiplier is not as it must be."""
    options = parse(arguments)
    console = Console()
    began = time.monotonic()
    use_threads(1)

    def say(what: str) -> None:
        console.print(f"[{time.monotonic() - began:5.0f} s] {what}", highlight=False, markup=False)

    try:
        data = handwritten_digits()
        say(f"train the float network on {len(data.train_x)} images")
        with Progress(console=console, transient=True) as progress:
            model, accuracy = pipelines.float_model(data, progress=progress)
        say(f"float accuracy {100 * accuracy:.2f} % on {len(data.test_x)} held-out images")
        outcomes = []
        for variant in VARIANTS:

            def step(what: str, name: str = variant.name) -> None:
                say(f"{name}: {what}")

            outcomes.append(
                run_variant(
                    variant,
                    model,
                    data,
                    options.out,
                    limit=options.rtl_seconds,
                    images=options.rtl_images,
                    say=step,
                )
            )
        made_by = command("demo", *(sys.argv[1:] if arguments is None else arguments))
        results = report.write(outcomes, data, options.out, seconds=time.monotonic() - began, made_by=made_by)
    except (OSError, RuntimeError, TypeError, ValueError) as error:
        return failed(error)
    console.print(report.terminal_table(results))
    say(f"written: {options.out}/report.html, report.json, verilog/, networks/, images/")
    wrong = [
        str(row["name"])
        for row in results
        if row["mismatches"] or row["multipliers"] or row["cycles_predicted"] != row["cycles_simulated"]
    ]
    if wrong:
        complain(f"Hardware must agree with the golden model, but does not: {', '.join(wrong)}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
