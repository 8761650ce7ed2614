"""Command line: ``twofold train fit|ptq|eval|export|plot --help``."""

import argparse
from pathlib import Path

from twofold.support.commands import Parser, failed
from twofold.support.console import run_command
from twofold.train import commands
from twofold.train.data import DATA
from twofold.train.imports import import_own
from twofold.train.models import MODELS
from twofold.train.runs import use_threads
from twofold.train.tasks import TASKS

EXAMPLES = (
    "twofold train fit --out build/runs/float",
    "twofold train ptq --out build/runs/w4 --start build/runs/float --recipe subset_w4a8 --config subset_8x8",
    "twofold train eval build/runs/w4 --config subset_8x8",
    "twofold train export build/runs/w4 --config subset_8x8 --out build/runs/w4-network",
)


def main(arguments: list[str] | None = None) -> int:
    """Run a command; its exit code."""
    options = _parser().parse_args(arguments)
    try:
        use_threads(options.threads)
        for name in options.imports:
            import_own(name)
        options.run(options)
    except (ValueError, OSError) as error:
        return failed(error)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="twofold train", description="Train, quantize and export networks.", examples=EXAMPLES)
    found = parser.add_subparsers(required=True, metavar="COMMAND")

    fit = found.add_parser("fit", help="train in float, or quantization-aware from trained weights")
    _source(fit)
    fit.add_argument("--recipe", type=Path, help="recipe of method 'qat'; without one, the training is in float")
    _build(fit, "build of the array: scales end where its requantiser can do them")
    _settings(fit)
    _running(fit)
    fit.set_defaults(run=commands.fit)

    ptq = found.add_parser("ptq", help="quantize trained weights after training")
    _source(ptq)
    ptq.add_argument("--recipe", type=Path, required=True, help="recipe of method 'ptq'")
    _build(ptq, "build of the array: scales end where its requantiser can do them")
    ptq.set_defaults(run=commands.ptq)

    evaluate = found.add_parser("eval", help="the task's metrics on the held-out images")
    _run(evaluate)
    _task(evaluate)
    _build(evaluate, "also in integer mode, exported for this build")
    evaluate.set_defaults(run=commands.evaluate)

    export = found.add_parser("export", help="write the integer network of a quantized run")
    _run(export)
    _task(export)
    _build(export, "build of the array", required=True)
    export.add_argument("--out", metavar="FOLDER", type=Path, required=True, help="folder to write")
    export.set_defaults(run=commands.export_network)

    plot = found.add_parser("plot", help="draw a run: quantizers, metrics, words by layer, accuracy against cost")
    _run(plot)
    plot.add_argument(
        "--report",
        metavar="FILE",
        type=Path,
        nargs="+",
        default=[],
        help="report files (lists of rows with accuracy and bits or cycles) for accuracy against cost",
    )
    plot.add_argument("--float", metavar="RUN", type=Path, help="float run whose results stand beside this one's")
    plot.add_argument("--out", metavar="FOLDER", type=Path, help="folder to write (default: RUN/plots)")
    plot.set_defaults(run=commands.plot)

    for command in (fit, ptq, evaluate, export, plot):
        command.add_argument(
            "--threads", metavar="N", type=int, default=1, help="threads of torch (default: %(default)s)"
        )
        command.add_argument(
            "--import",
            metavar="MODULE",
            dest="imports",
            action="append",
            default=[],
            help="module or file of Python with quantizers of your own that the recipe names (may be repeated)",
        )
    return parser


def _run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_folder", metavar="RUN", type=Path, help="folder of a run")
    parser.add_argument("--data-path", metavar="PATH", type=Path, help="data, if they are no longer where they were")


def _task(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--task", choices=tuple(TASKS), help="what the network does (default: classification)")


def _build(parser: argparse.ArgumentParser, text: str, *, required: bool = False) -> None:
    parser.add_argument("--config", metavar="FILE", type=Path, required=required, help=text)


def _source(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", metavar="RUN", type=Path, required=True, help="folder to write")
    _task(parser)
    parser.add_argument("--network", choices=sorted(MODELS), help="network (default: demo, or the task's first)")
    parser.add_argument("--data", choices=sorted(DATA), help="data set (default: the task's; digits)")
    parser.add_argument("--data-path", metavar="PATH", type=Path, help="where the data set lies")
    start = parser.add_mutually_exclusive_group()
    start.add_argument("--weights", metavar="FILE", type=Path, help="trained weights, .safetensors or .npz")
    start.add_argument("--start", metavar="RUN", type=Path, help="float run to start from, its network and data")


def _settings(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("instead of the recipe's or the data set's own settings")
    group.add_argument("--epochs", metavar="N", type=int)
    group.add_argument("--batch", metavar="N", type=int, help="images of a step, over all processes")
    group.add_argument("--steps", metavar="N", type=int, help="of an epoch, at most (0: all images)")
    group.add_argument("--lr", metavar="RATE", type=float)
    group.add_argument("--warmup", metavar="EPOCHS", type=float)
    group.add_argument("--schedule", metavar="NAME", help="cosine, step or constant")
    group.add_argument("--optimizer", metavar="NAME", help="adam or sgd")
    group.add_argument("--seed", metavar="N", type=int)


def _running(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("how it runs")
    group.add_argument("--device", default="auto", help="cpu, cuda or cuda:N (default: cuda if there is one)")
    group.add_argument("--bf16", action="store_true", help="compute in bfloat16 where that is safe")
    group.add_argument(
        "--compile", metavar="BACKEND", nargs="?", const="inductor", default="", help="torch.compile (inductor)"
    )
    group.add_argument("--resume", action="store_true", help="go on with the interrupted run in the folder")
    group.add_argument(
        "--save-every", metavar="STEPS", type=int, default=0, help="save the state also within epochs, not only after"
    )
    group.add_argument(
        "--evaluate", metavar="N", type=int, default=0, help="report the held-out accuracy every N epochs"
    )
    group.add_argument("--tensorboard", action="store_true", help="write the metrics for TensorBoard, too")


if __name__ == "__main__":
    raise SystemExit(run_command(main))
