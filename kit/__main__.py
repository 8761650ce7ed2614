"""``twofold package CONFIG --out FOLDER``: a folder that uses a build without Python."""

import argparse
import sys
from pathlib import Path

from twofold.golden import container
from twofold.golden.config import load_config
from twofold.kit.package import package_files, save
from twofold.kit.testbench import vectors
from twofold.kit.wrappers import WRAPPERS
from twofold.mapper.builds import map_network
from twofold.support.commands import Parser, failed
from twofold.support.console import run_command
from twofold.testing.random_network import random_inputs, random_network

EXAMPLES = (
    "twofold package log_8x8 --out log_8x8                           with a small network of random words to try it",
    "twofold package log_8x8 --wrapper wishbone --out FOLDER        with the registers on a Wishbone bus, too",
    "twofold package mine.toml --network NETWORK --out FOLDER        with your network",
    "twofold package imagenet_16x16 --network NETWORK --out FOLDER   with a memory outside",
)
#: Of the network of random words, and of the inputs.
SEED, LAYERS, SIDE = 7, 3, 6


def main(arguments: list[str] | None = None) -> int:
    """Run the command; the exit code: 0, or 2 after one line on stderr."""
    parser = Parser(
        prog="twofold package",
        description="Write a folder for use without Python: Verilog, C driver, testbench, files for other tools.",
        examples=EXAMPLES,
    )
    parser.add_argument("config", type=Path, help="build, a TOML file or a name of configs/")
    parser.add_argument("--out", type=Path, required=True, help="folder to write; an older package there is replaced")
    parser.add_argument("--network", type=Path, help="folder of the quantized network (default: one of random words)")
    parser.add_argument("--inputs", type=int, default=3, help="random inputs for the testbench (default: 3)")
    parser.add_argument(
        "--wrapper", action="append", choices=tuple(WRAPPERS), help="for another bus; may be given several times"
    )
    parser.add_argument("--clock", type=float, default=100.0, help="MHz, for the constraints (default: 100)")
    options = parser.parse_args(arguments)
    try:
        return _write(options)
    except (OSError, ValueError, TypeError) as error:
        return failed(error)


def _write(options: argparse.Namespace) -> int:
    if options.inputs < 1:
        raise ValueError(f"Inputs must be at least one, not {options.inputs!r}")
    config = load_config(options.config)
    if options.network:
        network = container.load(options.network)
    else:
        network = random_network(SEED, config, layers=LAYERS, max_side=SIDE)
    image = map_network(network, config)
    given = vectors(network, image, random_inputs(SEED, network, options.inputs))
    files = package_files(given, clock=options.clock, wrappers=options.wrapper)
    save(files, options.out)
    size = sum(map(len, files.values()))
    print(f"{options.out}: {len(files)} files, {size:,} bytes; build {config.name}, hash {config.build_hash:08x}")
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
