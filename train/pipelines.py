"""A method from its recipe to a quantized model: what the command line and the demo call."""

import copy
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from rich.progress import Progress
from torch import nn

from twofold.golden.config import ArrayConfig
from twofold.train.builds import check_build
from twofold.train.checkpoint import read_stage
from twofold.train.convert import calibrate, convert
from twofold.train.data import DataSet
from twofold.train.evaluation import evaluate
from twofold.train.layers import QuantModel
from twofold.train.loop import FitOptions, Report, fit
from twofold.train.models import build_model
from twofold.train.ptq import correct_bias, quantize
from twofold.train.recipe import Recipe, TrainSettings, load_recipe
from twofold.train.snap import snap
from twofold.train.tasks import TASKS

#: Float training of the demo's network.
FLOAT = TrainSettings(epochs=100, batch=64, lr=1e-2, weight_decay=1e-3, settle=0.0)
#: Float training by data set, where nothing else is asked for.
FLOAT_BY_DATA = {
    "digits": FLOAT,
    "mnist": TrainSettings(epochs=20, batch=128, lr=2e-3, weight_decay=1e-4),
    "fashion_mnist": TrainSettings(epochs=20, batch=128, lr=2e-3, weight_decay=1e-4),
    "cifar10": TrainSettings(
        epochs=200, batch=128, lr=0.1, weight_decay=1e-4, optimizer="sgd", schedule="step", warmup=1
    ),
    "cifar100": TrainSettings(epochs=200, batch=128, lr=0.1, weight_decay=5e-4, optimizer="sgd", warmup=1),
    "bccd": TrainSettings(epochs=60, batch=16, lr=2e-3, weight_decay=1e-5, warmup=2),
    "camvid": TrainSettings(epochs=40, batch=8, lr=2e-3, weight_decay=1e-5, warmup=1),
    "camvid_dark": TrainSettings(epochs=60, batch=8, lr=1e-3),
    "imagenet": TrainSettings(epochs=90, batch=256, lr=0.1, weight_decay=1e-4, optimizer="sgd", warmup=5),
}
#: `TrainSettings.settle` of a training in which scales stand still in every epoch.
FROM_THE_START = 1 - 1e-9


@dataclass(frozen=True, eq=False)
class Quantized:
    """A quantized model and what it reaches on the held-out images.

    Parameters
    ----------
    model
        Ready for export to the build that it was made for.
    recipe
        How it was made.
    float_accuracy, accuracy
        Of the float and of the quantized model; parts of the held-out images. Of other tasks than classification: the
        task's own figure.
    float_scores, scores
        All metrics of the task, by name.
    """

    model: QuantModel
    recipe: Recipe
    float_accuracy: float
    accuracy: float
    float_scores: dict[str, float] = field(default_factory=dict)
    scores: dict[str, float] = field(default_factory=dict)


def train_float(
    model: nn.Module,
    data: DataSet,
    settings: TrainSettings = FLOAT,
    *,
    report: Report | None = None,
    progress: Progress | None = None,
    options: FitOptions | None = None,
) -> dict[str, float]:
    """Train in place; the metrics on the held-out images."""
    fit(model, data, settings, report=report, progress=progress, title="float", options=options)
    return evaluate(model, data)


def float_model(
    data: DataSet, name: str = "demo", settings: TrainSettings = FLOAT, *, progress: Progress | None = None
) -> tuple[nn.Module, float]:
    """New trained network of that name, and its accuracy (the task's own figure) on the held-out images."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        model = build_model(name, classes=data.classes, inputs=data.input.shape[0])
    return model, first(train_float(model, data, settings, progress=progress))


def first(scores: dict[str, float]) -> float:
    """The task's own figure."""
    return next(iter(scores.values()))


def trainings(settings: TrainSettings) -> list[tuple[int, TrainSettings]]:
    """Least bits and settings of each training of a recipe, in order (`stages` and `again` of its settings)."""
    found = [(bits, settings) for bits in (*settings.stages, 0)]
    if settings.again:
        found.append((0, replace(settings, settle=FROM_THE_START)))
    return [(bits, replace(each, seed=settings.seed + stage)) for stage, (bits, each) in enumerate(found)]


def train_quantized(
    quantized: QuantModel,
    model: nn.Module,
    data: DataSet,
    recipe: Recipe,
    *,
    report: Report | None = None,
    progress: Progress | None = None,
    options: FitOptions | None = None,
) -> None:
    """Calibrate a converted model and train it in all stages of the recipe; `model` is the float model.

    Epochs are reported as if the stages were one training. A resumed run goes on in the stage that its state is of.
    """
    plan, options = trainings(recipe.train), options or FitOptions()
    if recipe.train.stages:
        quantized.set_bits(plan[0][0])
    calibrate(quantized, data.train_x[: TASKS[data.task].calibration])
    start = read_stage(options.state) if options.resume and options.state else 0
    for stage, (bits, settings) in enumerate(plan):
        if stage < start:
            continue
        facts = options.facts | ({"stage": stage} if len(plan) > 1 else {})
        if recipe.train.stages:
            quantized.set_bits(bits)
        fit(
            quantized,
            data,
            settings,
            teacher=copy.deepcopy(model),
            report=_later(report, stage * settings.epochs),
            progress=progress,
            title=f"{recipe.name} {stage + 1}/{len(plan)}" if len(plan) > 1 else recipe.name,
            options=replace(options, facts=facts, resume=options.resume and stage == start),
        )
    quantized.fold()


def _later(report: Report | None, epochs: int) -> Report | None:
    """The same report, epochs counted on."""
    if report is None or not epochs:
        return report
    return lambda metrics: report(metrics | {"epoch": metrics["epoch"] + epochs})


def apply(
    model: nn.Module,
    data: DataSet,
    recipe: Recipe | Path | str,
    config: ArrayConfig | None,
    *,
    report: Report | None = None,
    progress: Progress | None = None,
    options: FitOptions | None = None,
) -> Quantized:
    """Quantize a trained float model by a recipe. The float model is not changed.

    With a build, scales end where its requantiser can do them exactly (`train.snap`), so the accuracy is that of the
    exported network but for rounded biases and residual constants. Without one, that is left to the export.
    """
    if not isinstance(recipe, Recipe):
        recipe = load_recipe(recipe)
    quantized = convert(model, recipe, data.input, training=True)
    if config is not None:
        check_build(quantized, config)
    if recipe.method == "qat":
        train_quantized(quantized, model, data, recipe, report=report, progress=progress, options=options)
        if config is not None:
            snap(quantized, config)
    else:
        wanted = quantize(quantized, data.train_x, recipe.ptq)
        if config is not None:
            snap(quantized, config)
        if recipe.ptq.reconstruct:
            correct_bias(quantized, data.train_x[: recipe.ptq.images], wanted)
    before, reached = evaluate(copy.deepcopy(model), data), evaluate(quantized, data)
    return Quantized(quantized, recipe, first(before), first(reached), before, reached)
