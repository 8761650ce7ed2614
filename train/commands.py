"""What the commands of ``twofold train`` do."""

import argparse
import os
import sys
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
from twofold.train.builds import export_for
from twofold.train.checkpoint import read_progress
from twofold.train.data import DataSet, load_data
from twofold.train.distributed import ALONE, World, world
from twofold.train.evaluation import evaluate as scores_of
from twofold.train.evaluation import evaluate_integers, spoken
from twofold.train.layers import QuantModel
from twofold.train.loop import FitOptions
from twofold.train.models import MODELS, build_model, load_weights
from twofold.train.pipelines import FLOAT_BY_DATA, apply, train_float
from twofold.train.recipe import Recipe, TrainSettings, load_recipe
from twofold.train.report import Report, both, json_lines, tensorboard
from twofold.train.run_files import METRICS, STATE, part, writing
from twofold.train.runs import load_run, quantized, quantized_run, save_run
from twofold.train.snap import snap
from twofold.train.stored_recipe import store_recipe
from twofold.train.streams import describe_ties
from twofold.train.tasks import TASKS, NetworkTask


def fit(options: argparse.Namespace) -> None:
    """Train in float, or quantization-aware."""
    with world(_device(options.device)) as here:
        with writing(options.out, resume=options.resume) if here.first else nullcontext():
            _fit(options, here)


def _fit(options: argparse.Namespace, here: World) -> None:
    recipe = _recipe(options, "qat") if options.recipe else None
    model, data, facts = _float_model(options, wanted=recipe is not None)
    TASKS[data.task].meter(data)  # here it ends if a library is missing, not after the training
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
    if options.bf16 and here.first and slow_bfloat16(how.device):
        print("bfloat16 is slower than float32 here: this processor computes it in software", file=sys.stderr)
    with _progress(here) as progress:
        report = _report(options, here)
        if recipe is None:
            reached = train_float(model, data, settings, report=report, progress=progress, options=how)
            if here.first:
                save_run(options.out, model, facts | reached)
                print(f"float {spoken(reached)}, written to {options.out}")
            return
        _quantize(options, model, data, facts, replace(recipe, train=settings), report, progress, how)


def slow_bfloat16(device: str) -> bool:
    """Whether bfloat16 gains nothing on a device: on processors whose vectors are too short for it."""
    return device == "cpu" and torch.backends.cpu.get_cpu_capability() in ("DEFAULT", "NO AVX", "AVX2")


def ptq(options: argparse.Namespace) -> None:
    """Quantize after training."""
    with writing(options.out):
        recipe = _recipe(options, "ptq")
        model, data, facts = _float_model(options, wanted=True)
        TASKS[data.task].meter(data)
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
    facts = facts | result.scores | {f"float_{name}": value for name, value in result.float_scores.items()}
    save_run(options.out, result.model, facts | {"build": config.name if config else None}, recipe)
    for line in describe_ties(result.model):
        print(line)
    floats = ", ".join(f"{value:.4f}" for value in result.float_scores.values())
    print(f"{recipe.name}: {spoken(result.scores)} (float {floats}), written to {options.out}")


def evaluate(options: argparse.Namespace) -> None:
    """The task's metrics on the held-out images."""
    model, data, facts = load_run(options.run_folder, options.data_path)
    _check_task(options, data)
    print(f"{spoken(scores_of(model, data))} on {len(data.test_y)} held-out images")
    if options.config is not None:
        config = load_config(options.config)
        model = quantized(options.run_folder, model)
        if facts.get("build") != config.name:
            snap(model, config)
        network = export_for(model, config)
        print(f"integer {spoken(evaluate_integers(model, network, data))}")


def export_network(options: argparse.Namespace) -> None:
    """Write the integer network of a quantized run."""
    config = load_config(options.config)
    model, data, facts = quantized_run(options.run_folder, options.data_path)
    _check_task(options, data)
    if facts.get("build") != config.name:
        snap(model, config)
    scores = [key for key, value in facts.items() if type(value) is float]
    meta: dict[str, object] = {key: facts[key] for key in ("model", "data", *scores) if key in facts}
    network = export_for(model, config, meta=meta)
    save(network, options.out)
    print(f"{len(network.layers)} layers, {network.meta['weight_bits']:.2f} bits a weight, written to {options.out}")


def plot(options: argparse.Namespace) -> None:
    """Draw a run."""
    from twofold.train.plots import plot_run

    for file in plot_run(
        options.run_folder, options.out, options.report, data_path=options.data_path, beside=options.float
    ):
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
        _check_task(options, data)
        if isinstance(model, QuantModel):
            raise ValueError(f"Run must be of a float model, not the quantized model in {str(options.start)!r}")
        return model, data, {key: facts.get(key) for key in ("model", "data", "data_path")}
    if wanted and options.weights is None:
        raise ValueError("Argument --start or --weights must be given with a recipe, not left out")
    task = TASKS[options.task or "classification"]
    kind = options.data or task.data
    data = load_data(kind, options.data_path)
    _check_task(options, data)
    name = _network(options, task)
    torch.manual_seed(getattr(options, "seed", None) or 0)
    model = build_model(name, classes=data.classes, inputs=data.input.shape[0])
    if options.weights is not None:
        load_weights(model, options.weights)
    path = None if options.data_path is None else str(options.data_path.resolve())
    return model, data, {"model": name, "data": kind, "data_path": path}


def _check_task(options: argparse.Namespace, data: DataSet) -> None:
    """Refuse data of another task than the one that is given; of a run, any that is."""
    given = options.task
    if given is None and hasattr(options, "network") and options.start is None:
        given = "classification"
    if given is not None and data.task != given:
        raise ValueError(f"Data {data.name!r} must be used with --task {data.task}, not {given!r}")


def _network(options: argparse.Namespace, task: NetworkTask) -> str:
    """Name of a network that is made for the task."""
    others = {name for other in TASKS.values() for name in other.networks}
    known = task.networks or tuple(name for name in MODELS if name not in others)
    name = options.network or (task.networks or ("demo",))[0]
    if name not in known:
        raise ValueError(f"Network must be one of {known} for the task {task.name!r}, not {name!r}")
    return name


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
