"""``twofold board build|run``: a bitstream for a board; an image and inputs to a board over its serial line."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from twofold.boards.build import BOARDS, build
from twofold.boards.device import Device
from twofold.boards.host import Board, SerialPort
from twofold.golden import image_folder
from twofold.golden.arrays import read_npy
from twofold.support.commands import Parser, failed
from twofold.support.console import run_command
from twofold.support.files import write_text
from twofold.support.output import build_folder

EXAMPLES = (
    "twofold board build ulx3s_85f",
    "twofold map NETWORK --config ulx3s_85f --out IMAGE",
    "twofold board run IMAGE inputs.npy --port /dev/ttyUSB0 --out outputs.npy",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Make a bitstream or talk to a board; returns the exit code."""
    parser = Parser(prog="twofold board", description="The machine on real boards.", examples=EXAMPLES)
    commands = parser.add_subparsers(dest="command", required=True)
    make = commands.add_parser("build", help="make a bitstream")
    make.add_argument("board", choices=BOARDS)
    make.add_argument("--config", type=Path, help="build, a TOML file (default: the board's own)")
    make.add_argument("--out", type=Path, default=build_folder("bitstream"), help="folder to write to")
    run = commands.add_parser("run", help="load an image into a board, run inputs, print the outputs' classes")
    run.add_argument("image", type=Path, help="image folder, made by twofold map for the board's build")
    run.add_argument("inputs", type=Path, help="NumPy file with integer inputs, (N, C, H, W) or (C, H, W)")
    run.add_argument("--port", default="/dev/ttyUSB0", help="serial port")
    run.add_argument("--baud", type=int, default=1_000_000, help="bits a second")
    several = "of several, the others go to NAME.1.npy and so on"
    run.add_argument("--out", type=Path, help=f"NumPy file to write the integer outputs to; {several}")
    options = parser.parse_args(arguments)
    try:
        return _build(options) if options.command == "build" else _run(options)
    except (OSError, RuntimeError, TypeError, ValueError) as error:
        return failed(error)


def _build(options: argparse.Namespace) -> int:
    folder = options.out / options.board
    report = build(options.board, folder, config=options.config)
    write_text(folder / "report.json", json.dumps(report, indent=2) + "\n")
    used = ", ".join(f"{k} {v['used']}/{v['available']}" for k, v in report["utilisation"].items() if v["used"])
    path = report["path"]
    print(f"{used}; multipliers {report['multipliers']}")
    print(
        f"clock {report['clock']:g} MHz, reached {report['fmax']:g} MHz, critical path {path['from']} to {path['to']}"
    )
    print(f"bitstream: {report['bitstream']}, report: {folder / 'report.json'}")
    return 0


def _run(options: argparse.Namespace) -> int:
    image = image_folder.load(options.image)
    inputs = read_npy(options.inputs)
    if inputs.ndim == 3:
        inputs = inputs[np.newaxis]
    outputs = []
    with Device(Board(SerialPort(options.port, options.baud))) as device:
        device.load(image)
        for n, one in enumerate(inputs):
            outputs.append(device.run_all(one))
            print(f"{n}: class {int(outputs[-1][0].argmax())}, {device.cycles} cycles")
    if options.out:
        for number, tensors in enumerate(zip(*outputs, strict=True)):
            path = options.out if number == 0 else options.out.with_suffix(f".{number}{options.out.suffix}")
            np.save(path, np.stack(tensors), allow_pickle=False)
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
