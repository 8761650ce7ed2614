"""Command line: ``twofold onnx write|check|read --help``."""

import sys
from pathlib import Path

from twofold.exchange import commands
from twofold.exchange.write import STYLES
from twofold.support.commands import Parser, failed
from twofold.support.console import run_command

EXAMPLES = (
    "twofold onnx write build/runs/w4-network --out w4.onnx                 integers, golden's at every layer",
    "twofold onnx write build/runs/w4-network --style qdq --out w4.onnx     real numbers, for other tools",
    "twofold onnx check build/runs/w4-network                               onnxruntime beside golden, layer by layer",
    "twofold onnx read model.onnx --config log_8x8 --out build/runs/network a quantized network out of another tool",
)


def main(arguments: list[str] | None = None) -> int:
    """Run a command; its exit code: 0, 1 if what it checks is not so, 2 after one line on stderr."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except (OSError, ValueError, TypeError) as error:
        return failed(error)


def _parser() -> Parser:
    parser = Parser(prog="twofold onnx", description="Quantized networks as ONNX files.", examples=EXAMPLES)
    found = parser.add_subparsers(required=True, metavar="COMMAND")

    write = found.add_parser("write", help="write a quantized network as an ONNX file")
    write.add_argument("network", metavar="NETWORK", type=Path, help="folder of the quantized network")
    write.add_argument("--out", metavar="FILE", type=Path, required=True, help="file to write")
    write.add_argument("--layers", action="store_true", help="make every layer's integers an output, too")
    write.set_defaults(run=commands.write)

    check = found.add_parser("check", help="onnxruntime's integers beside golden's, layer by layer")
    check.add_argument("network", metavar="NETWORK", type=Path, help="folder of the quantized network")
    check.add_argument("--images", metavar="N", type=int, default=16, help="random inputs (default: %(default)s)")
    check.add_argument("--seed", metavar="N", type=int, default=0, help="of the inputs (default: %(default)s)")
    check.set_defaults(run=commands.check)

    read = found.add_parser("read", help="read a quantized ONNX file as a network")
    read.add_argument("file", metavar="FILE", type=Path, help="ONNX file, QDQ or QONNX")
    read.add_argument("--config", metavar="FILE", type=Path, required=True, help="build of the array")
    read.add_argument("--out", metavar="FOLDER", type=Path, required=True, help="folder to write")
    read.set_defaults(run=commands.read)

    for command in (write, check):
        command.add_argument(
            "--style", choices=STYLES, default="exact", help="exact: integers; qdq: real numbers (default: %(default)s)"
        )
    return parser


if __name__ == "__main__":
    sys.exit(run_command(main))
