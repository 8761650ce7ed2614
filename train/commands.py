"""What the commands of ``twofold train`` do."""

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import fields, replace
from typing import Any

import torch
from rich.console import Console
from rich.progress import Progress
from torch import nn

from twofold.golden.config import load_config
from twofold.golden.container import save
from twofold.support.digests import digest
from twofold.train import integer
from twofold.train.builds import export_for
from twofold.train.checkpoint import read_progress
from twofold.train.data import DataSet, load_data
from twofold.train.distributed import ALONE, World, world
from twofold.train.layers import QuantModel
from twofold.train.loop import FitOptions, accuracy
from twofold.train.models import build_model, load_weights
from twofold.train.pipelines import FLOAT_BY_DATA, apply, train_float
from twofold.train.recipe import Recipe, TrainSettings, load_recipe
from twofold.train.report import Report, both, json_lines, tensorboard
from twofold.train.run_files import METRICS, STATE, part, writing
from twofold.train.runs import load_run, quantized_run, save_run
from twofold.train.snap import snap
from twofold.train.stored_recipe import store_recipe
from twofold.train.streams import describe_ties


def fit(options: argparse.Namespace) -> None:
    """Train in float, or quantization-aware."""
    with world(_device(options.device)) as here:
        with writing(options.out, resume=options.resume) if here.first else nullcontext():
            _fit(options, here)


def _fit(options: argparse.Namespace, here: World) -> None:
    recipe = _recipe(options, "qat") if options.recipe else None
    model, data, facts = _float_model(options, wanted=recipe is not None)
    settings = _settings(options, recipe.train if recipe else FLOAT_BY_DATA[data.name])
    state = options.out / STATE
    how = FitOptions(
        device=_device(options.device),
        bf16=options.bf16,
        compile=options.compile,
        state=state,
        every=options.save_every,
        resume=options.resume,
        evaluate=options.evaluate,
        world=here,
        metrics=part(options.out / METRICS),
        facts={
            **facts,
            "data_path": None,
            "recipe": store_recipe(recipe) if recipe else None,
            "weights": _digest(model),
        },
    )
    if options.save_every < 0 or options.evaluate < 0:
        raise ValueError("Arguments --save-every and --evaluate must be at least 0, not less")
    with _progress(here) as progress:
        report = _report(options, here)
        if recipe is None:
            reached = train_float(model, data, settings, report=report, progress=progress, options=how)
            if here.first:
                save_run(options.out, model, facts | {"accuracy": reached})
                print(f"float accuracy {reached:.4f}, written to {options.out}")
            return
        _quantize(options, model, data, facts, replace(recipe, train=settings), report, progress, how)


def ptq(options: argparse.Namespace) -> None:
    """Quantize after training."""
    with writing(options.out):
        recipe = _recipe(options, "ptq")
        model, data, facts = _float_model(options, wanted=True)
        with _progress(ALONE) as progress:
            _quantize(options, model, data, facts, recipe, None, progress, FitOptions())
        (options.out / STATE).unlink(missing_ok=True)  # of an older run


def _quantize(
    options: argparse.Namespace,
    model: nn.Module,
    data: DataSet,
    facts: dict[str, Any],
    recipe: Recipe,
    report: Report | None,
    progress: Progress | None,
    how: FitOptions,
) -> None:
    config = load_config(options.config) if options.config else None
    result = apply(model, data, recipe, config, report=report, progress=progress, options=how)
    if not how.world.first:
        return
    facts = facts | {"accuracy": result.accuracy, "float_accuracy": result.float_accuracy}
    save_run(options.out, result.model, facts | {"build": config.name if config else None}, recipe)
    for line in describe_ties(result.model):
        print(line)
    print(
        f"{recipe.name}: accuracy {result.accuracy:.4f} (float {result.float_accuracy:.4f}), written to {options.out}"
    )


def evaluate(options: argparse.Namespace) -> None:
    """Accuracy on the held-out images."""
    model, data, facts = load_run(options.run_folder, options.data_path)
    reached = accuracy(model, data.test_x, data.test_y, input=data.input)
    print(f"accuracy {reached:.4f} on {len(data.test_y)} held-out images")
    if options.config is not None:
        config = load_config(options.config)
        model, data, facts = quantized_run(options.run_folder, options.data_path)
        if facts.get("build") != config.name:
            snap(model, config)
        network = export_for(model, config)
        right, part = 0, 128
        for n in range(0, len(data.test_y), part):
            logits = integer.run(network, data.integers(data.test_x[n : n + part]))[network.output.name].flatten(1)
            right += int((logits.argmax(1) == data.test_y[n : n + part]).sum())
        print(f"integer accuracy {right / len(data.test_y):.4f}")


def export_network(options: argparse.Namespace) -> None:
    """Write the integer network of a quantized run."""
    config = load_config(options.config)
    model, _, facts = quantized_run(options.run_folder, options.data_path)
    if facts.get("build") != config.name:
        snap(model, config)
    kept = ("model", "data", "accuracy", "float_accuracy")
    meta: dict[str, object] = {key: facts[key] for key in kept if key in facts}
    network = export_for(model, config, meta=meta)
    save(network, options.out)
    print(f"{len(network.layers)} layers, {network.meta['weight_bits']:.2f} bits a weight, written to {options.out}")


def plot(options: argparse.Namespace) -> None:
    """Draw a run."""
    from twofold.train.plots import plot_run

    for file in plot_run(options.run_folder, options.out, options.report, data_path=options.data_path):
        print(file)


def _recipe(options: argparse.Namespace, method: str) -> Recipe:
    recipe = load_recipe(options.recipe)
    if recipe.method != method:
        raise ValueError(f"{options.recipe}: method must be {method!r}, not {recipe.method!r}")
    return recipe


def _settings(options: argparse.Namespace, settings: TrainSettings) -> TrainSettings:
    """Settings with those of the command line."""
    given = {spec.name: getattr(options, spec.name, None) for spec in fields(TrainSettings)}
    return replace(settings, **{key: value for key, value in given.items() if value is not None})


def _float_model(options: argparse.Namespace, *, wanted: bool) -> tuple[nn.Module, DataSet, dict[str, Any]]:
    """Model, data and facts that the command line names; `wanted`: with trained weights."""
    if options.start is not None:
        for key in ("network", "data"):
            if getattr(options, key) is not None:
                raise ValueError(f"Argument --{key} must be left out with --start, not {getattr(options, key)!r}")
        model, data, facts = load_run(options.start, options.data_path)
        if isinstance(model, QuantModel):
            raise ValueError(f"Run must be of a float model, not the quantized model in {str(options.start)!r}")
        return model, data, {key: facts.get(key) for key in ("model", "data", "data_path")}
    if wanted and options.weights is None:
        raise ValueError("Argument --start or --weights must be given with a recipe, not left out")
    name, kind = options.network or "demo", options.data or "digits"
    data = load_data(kind, options.data_path)
    torch.manual_seed(getattr(options, "seed", None) or 0)
    model = build_model(name, classes=data.classes, inputs=data.input.shape[0])
    if options.weights is not None:
        load_weights(model, options.weights)
    path = None if options.data_path is None else str(options.data_path.resolve())
    return model, data, {"model": name, "data": kind, "data_path": path}


def _digest(model: nn.Module) -> str:
    """Names a model's weights."""
    return digest(name.encode() + tensor.numpy().tobytes() for name, tensor in model.state_dict().items())


def _device(name: str) -> str:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"Argument --device must be a device, not {name!r}") from error
    if device.type not in ("cpu", "cuda") or (device.type == "cuda" and not torch.cuda.is_available()):
        raise ValueError(f"Argument --device must be a device that is here, not {name!r}")
    if name == "cuda" and "LOCAL_RANK" in os.environ:
        return f"cuda:{os.environ['LOCAL_RANK']}"
    return name


@contextmanager
def _progress(here: World) -> Iterator[Progress | None]:
    if not here.first:
        yield None
        return
    with Progress(console=Console(stderr=True)) as progress:
        yield progress


def _report(options: argparse.Namespace, here: World) -> Report | None:
    if not here.first:
        return None
    lines = options.out / METRICS
    keep, reported = read_progress(options.out / STATE) if options.resume else (0, None)
    # Those of a finished run have their name.
    source = part(lines) if part(lines).exists() else lines
    report = json_lines(part(lines), keep=keep, source=source, digest=reported or None)
    return both(report, tensorboard(options.out / "tensorboard", keep=keep)) if options.tensorboard else report
