"""A method from its recipe to a quantized model: what the command line and the demo call."""

import copy
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.progress import Progress
from torch import nn

from golden.config import ArrayConfig
from train.convert import calibrate, convert
from train.data import DataSet
from train.layers import QuantModel
from train.loop import FitOptions, Report, accuracy, fit
from train.models import build_model
from train.ptq import correct_bias, quantize
from train.recipe import Recipe, TrainRule, load_recipe
from train.snap import snap

#: Float training of the demo's network.
FLOAT = TrainRule(epochs=100, batch=64, lr=1e-2, weight_decay=1e-3, settle=0.0)
#: Float training by data set, where nothing else is asked for.
FLOAT_BY_DATA = {
    "digits": FLOAT,
    "mnist": TrainRule(epochs=20, batch=128, lr=2e-3, weight_decay=1e-4),
    "fashion_mnist": TrainRule(epochs=20, batch=128, lr=2e-3, weight_decay=1e-4),
    "cifar10": TrainRule(epochs=200, batch=128, lr=0.1, weight_decay=1e-4, optimizer="sgd", schedule="step", warmup=1),
    "cifar100": TrainRule(epochs=200, batch=128, lr=0.1, weight_decay=5e-4, optimizer="sgd", warmup=1),
    "imagenet": TrainRule(epochs=90, batch=256, lr=0.1, weight_decay=1e-4, optimizer="sgd", warmup=5),
}
#: Images that calibration looks at in quantization-aware training.
CALIBRATION = 512


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
        Of the float and of the quantized model; parts of the held-out images.
    """

    model: QuantModel
    recipe: Recipe
    float_accuracy: float
    accuracy: float


def train_float(
    model: nn.Module,
    data: DataSet,
    settings: TrainRule = FLOAT,
    *,
    report: Report | None = None,
    progress: Progress | None = None,
    options: FitOptions | None = None,
) -> float:
    """Train in place; the accuracy on the held-out images."""
    fit(model, data, settings, report=report, progress=progress, title="float", options=options)
    return accuracy(model, data.test_x, data.test_y)


def float_model(
    data: DataSet, name: str = "demo", settings: TrainRule = FLOAT, *, progress: Progress | None = None
) -> tuple[nn.Module, float]:
    """New trained network of that name, and its accuracy on the held-out images."""
    torch.manual_seed(settings.seed)
    model = build_model(name, classes=data.classes, inputs=data.input.shape[0])
    return model, train_float(model, data, settings, progress=progress)


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
    quantized = convert(model, recipe, data.input)
    if recipe.method == "qat":
        calibrate(quantized, data.train_x[:CALIBRATION])
        fit(
            quantized, data, recipe.train,
            teacher=copy.deepcopy(model), report=report, progress=progress, title=recipe.name,
            options=options,
        )  # fmt: skip
        if config is not None:
            snap(quantized, config)
    else:
        wanted = quantize(quantized, data.train_x, recipe.ptq)
        if config is not None:
            snap(quantized, config)
        if recipe.ptq.reconstruct:
            correct_bias(quantized, data.train_x[: recipe.ptq.images], wanted)
    before = accuracy(copy.deepcopy(model), data.test_x, data.test_y)
    return Quantized(quantized, recipe, before, accuracy(quantized, data.test_x, data.test_y))
