"""Command line: ``python -m train fit|ptq|eval|export --help``."""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import Progress

from golden.config import load_config
from golden.container import save
from train import integer
from train.data import DATA, load_data
from train.export import export
from train.layers import QuantModel
from train.loop import accuracy, json_lines
from train.models import MODELS, build_model
from train.pipelines import FLOAT, apply, train_float
from train.recipe import load_recipe
from train.runs import METRICS, load_run, quantized_run, save_run, use_threads


def main(arguments: list[str] | None = None) -> int:
    """Run a command; its exit code."""
    options = _parser().parse_args(arguments)
    use_threads(options.threads)
    try:
        options.run(options)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m train", description="Train, quantize and export networks.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    fit = commands.add_parser("fit", help="train in float, or quantization-aware from a float run")
    fit.add_argument("run_folder", metavar="RUN", type=Path, help="folder to write")
    fit.add_argument("--model", default="demo", choices=sorted(MODELS), help="network (default: %(default)s)")
    fit.add_argument("--data", default="digits", choices=sorted(DATA), help="data set (default: %(default)s)")
    fit.add_argument("--recipe", type=Path, help="recipe of method 'qat'; needs --start and --config")
    fit.add_argument("--start", metavar="RUN", type=Path, help="float run to start from")
    fit.add_argument("--config", type=Path, help="build of the array")
    fit.add_argument("--epochs", type=int, help="instead of the recipe's")
    fit.add_argument("--seed", type=int, help="instead of the recipe's")
    fit.set_defaults(run=_fit)

    ptq = commands.add_parser("ptq", help="quantize a float run after training")
    ptq.add_argument("run_folder", metavar="RUN", type=Path, help="folder to write")
    ptq.add_argument("--start", metavar="RUN", type=Path, required=True, help="float run")
    ptq.add_argument("--recipe", type=Path, required=True, help="recipe of method 'ptq'")
    ptq.add_argument("--config", type=Path, required=True, help="build of the array")
    ptq.set_defaults(run=_ptq)

    evaluate = commands.add_parser("eval", help="accuracy on the held-out images")
    evaluate.add_argument("run_folder", metavar="RUN", type=Path)
    evaluate.add_argument("--config", type=Path, help="also in integer mode, exported for this build")
    evaluate.set_defaults(run=_eval)

    out = commands.add_parser("export", help="write the integer network of a quantized run")
    out.add_argument("run_folder", metavar="RUN", type=Path)
    out.add_argument("--config", type=Path, required=True, help="build of the array")
    out.add_argument("--out", metavar="FOLDER", type=Path, required=True, help="folder to write")
    out.set_defaults(run=_export)

    for command in (fit, ptq, evaluate, out):
        command.add_argument("--threads", type=int, default=1, help="threads of torch (default: %(default)s)")
    return parser


def _fit(options: argparse.Namespace) -> None:
    if options.recipe is not None:
        _quantize(options, "qat")
        return
    data = load_data(options.data)
    changes = {key: getattr(options, key) for key in ("epochs", "seed") if getattr(options, key) is not None}
    settings = replace(FLOAT, **changes)
    torch.manual_seed(settings.seed)
    model = build_model(options.model, classes=data.classes, inputs=data.input.shape[0])
    with Progress(console=Console(stderr=True)) as progress:
        report = json_lines(options.run_folder / METRICS)
        reached = train_float(model, data, settings, report=report, progress=progress)
    save_run(options.run_folder, model, {"model": options.model, "data": options.data, "accuracy": reached})
    print(f"float accuracy {reached:.4f}, written to {options.run_folder}")


def _ptq(options: argparse.Namespace) -> None:
    _quantize(options, "ptq")


def _quantize(options: argparse.Namespace, method: str) -> None:
    if options.start is None or options.config is None:
        raise ValueError("Arguments --start and --config must be given with a recipe, not left out")
    recipe, config = load_recipe(options.recipe), load_config(options.config)
    if recipe.method != method:
        raise ValueError(f"{options.recipe}: method must be {method!r}, not {recipe.method!r}")
    changes = {key: getattr(options, key, None) for key in ("epochs", "seed")}
    recipe = replace(recipe, train=replace(recipe.train, **{k: v for k, v in changes.items() if v is not None}))
    model, data, facts = load_run(options.start)
    if isinstance(model, QuantModel):
        raise ValueError(f"Run must be of a float model, not the quantized model in {str(options.start)!r}")
    with Progress(console=Console(stderr=True)) as progress:
        report = json_lines(options.run_folder / METRICS)
        result = apply(model, data, recipe, config, report=report, progress=progress)
    facts = {"model": facts["model"], "data": facts["data"], "accuracy": result.accuracy, "build": config.name}
    save_run(
        options.run_folder, result.model, facts | {"float_accuracy": result.float_accuracy}, recipe
    )  # fmt: skip
    print(
        f"{recipe.name}: accuracy {result.accuracy:.4f} (float {result.float_accuracy:.4f}), "
        f"written to {options.run_folder}"
    )


def _eval(options: argparse.Namespace) -> None:
    model, data, _ = load_run(options.run_folder)
    print(f"accuracy {accuracy(model, data.test_x, data.test_y):.4f} on {len(data.test_y)} held-out images")
    if options.config is not None:
        quantized, data, _ = quantized_run(options.run_folder)
        network = export(quantized, load_config(options.config))
        logits = integer.run(network, data.test_integers)[network.output.name].flatten(1)
        reached = float((logits.argmax(1) == data.test_y).double().mean())
        print(f"integer accuracy {reached:.4f}")


def _export(options: argparse.Namespace) -> None:
    model, _, facts = quantized_run(options.run_folder)
    meta: dict[str, object] = {
        key: facts[key] for key in ("model", "data", "accuracy", "float_accuracy") if key in facts
    }
    network = export(model, load_config(options.config), meta=meta)
    save(network, options.out)
    print(f"{len(network.layers)} layers, {network.meta['weight_bits']:.2f} bits a weight, written to {options.out}")


if __name__ == "__main__":
    raise SystemExit(main())
