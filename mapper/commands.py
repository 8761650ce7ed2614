"""``twofold fit NETWORK``: which builds a network fits, and the smallest build file that does."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from twofold.golden import container
from twofold.golden.config import load_config
from twofold.mapper.fit import DEPTHS, Fit, best, toml, try_build
from twofold.support import resources
from twofold.support.commands import Parser, failed
from twofold.support.files import write_text
from twofold.support.jobs import Job, add_options, engine

#: Columns of a table that goes to a file or a pipe.
WIDTH = 200
EXAMPLES = (
    "twofold fit build/runs/w4-network                                    of all builds that there are",
    "twofold fit build/runs/w4-network --config mine.toml --out my.toml    mine, made as small as may be",
)


def main(arguments: list[str] | None = None) -> int:
    """Run the command; the exit code: 0, or 2 after one line on stderr."""
    parser = Parser(
        prog="twofold fit",
        description="Which builds a network fits, and the smallest build file that does.",
        examples=EXAMPLES,
    )
    parser.add_argument("network", type=Path, help="folder of the quantized network")
    parser.add_argument(
        "--config", type=Path, action="append", help="build, a TOML file or a name (default: all of configs/)"
    )
    parser.add_argument("--out", metavar="FILE", type=Path, help="build file to write (default: it is printed)")
    add_options(parser)
    options = parser.parse_args(arguments)
    try:
        text = fit(options)
    except (OSError, RuntimeError, ValueError, TypeError) as error:
        return failed(error)
    print(text.rstrip("\n"))
    return 0


def fit(options: argparse.Namespace) -> str:
    """Tries every build; returns what to print.

    Raises
    ------
    ValueError
        If no build takes the network, not even with deeper memories.
    """
    network = container.load(options.network)
    paths = options.config or resources.shipped("configs")
    configs = [load_config(path) for path in paths]
    with engine(options) as run:
        fits = list(run.results([Job(c.name, try_build, (network, c), str(n)) for n, c in enumerate(configs)]))
    chosen = best(fits)
    if chosen is None:
        reasons = "; ".join(f"{one.config.name}: {one.reason}" for one in fits)
        raise ValueError(f"Network {network.name!r} must fit a build, be it with deeper memories: {reasons or 'none'}")
    assert chosen.smallest is not None
    text = toml(chosen.smallest)
    if options.out:
        write_text(options.out, text)
    head = f"# smallest build: {chosen.config.name} " + ("reduced" if chosen.fits else "with deeper memories")
    return f"{table(fits)}\n{head}\n" + (f"# written to {options.out}\n" if options.out else text)


def table(fits: Sequence[Fit]) -> str:
    """One line a build; lines of memory as used/there."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDTH)
    view = Table("build", "fits", "cycles", "use %", *(kind.name.lower() for kind in DEPTHS), "acc bits", "why not")
    for one in fits:
        view.add_row(one.config.name, "yes" if one.fits else "no", *_numbers(one), one.reason)
    with console.capture() as captured:
        console.print(view, markup=False, highlight=False)
    return captured.get()


def _numbers(one: Fit) -> list[str]:
    if one.image is None:
        return ["-"] * (len(DEPTHS) + 3)
    lines = [f"{one.image.used_lines(kind)}/{getattr(one.config, key)}" for kind, key in DEPTHS.items()]
    use = f"{100 * one.image.utilisation():.1f}"
    return [str(one.image.cycles), use, *lines, f"{one.image.acc_bits}/{one.config.acc_width}"]
