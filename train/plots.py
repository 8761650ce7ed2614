"""Pictures of a run: quantizers over the weights, metrics, attention, words by layer, accuracy against cost."""

import io
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from twofold.support.files import write_bytes
from twofold.support.tables import read_json
from twofold.train.layers import QuantModel
from twofold.train.quantizers import WeightQuantizer
from twofold.train.quantizers.base import per_channel
from twofold.train.results_plot import draw_results
from twofold.train.runs import load_run, run_metrics

#: Layers in a picture of quantizers, at most.
MOST_LAYERS = 24
#: Columns of such a picture.
COLUMNS = 4
#: Metrics that are drawn over the epochs: what they are called, and by what they are multiplied.
CURVES = {
    "train_accuracy": ("training", 100),
    "accuracy": ("held out", 100),
    "miou": ("held out, mean IoU", 100),
    "ap50": ("held out, AP at 0.5", 100),
    "ap": ("held out, AP", 100),
    "psnr": ("held out", 1),
}
Lines = list[dict[str, float]]


def plot_run(
    folder: Path,
    out: Path | None = None,
    reports: list[Path] | None = None,
    *,
    data_path: Path | None = None,
    beside: Path | None = None,
) -> list[Path]:
    """Draw what there is to draw of a run.

    Parameters
    ----------
    folder
        The run.
    out
        Folder of the pictures; ``None``: ``plots`` in the run's.
    reports
        JSON files with rows (`read_rows`) to draw accuracy against bits and cycles from.
    beside
        Another run of the same data, whose results stand beside this one's: the float one.

    Returns
    -------
    Files written.
    """
    model, data, _ = load_run(folder, data_path)
    out = out or folder / "plots"
    lines = run_metrics(folder)
    rows = [row for file in reports or [] for row in read_rows(file)]
    pictures: dict[str, Callable[[], Figure] | None] = {
        "metrics.png": (lambda: draw_metrics(lines)) if lines else None,
        "attention.png": (lambda: draw_attention(lines)) if attention_names(lines) else None,
    }
    if isinstance(model, QuantModel):
        pictures["quantizers.png"] = lambda: draw_quantizers(model)
        if two_word_ratios(model):
            pictures["words.png"] = lambda: draw_words(model)
    for key, name in (("weight_bits", "bits.png"), ("cycles", "cycles.png")):
        if any(key in row for row in rows):
            pictures[name] = partial(draw_cost, rows, key)
    if data.task != "classification":
        models = ({"float": load_run(beside, data_path)[0]} if beside else {}) | {folder.name: model}
        pictures["results.png"] = lambda: draw_results(models, data)
    written = []
    for name, draw in pictures.items():
        if draw is not None:
            drawn = io.BytesIO()
            draw().savefig(drawn, format="png", dpi=120)
            write_bytes(out / name, drawn.getvalue())
            written.append(out / name)
    return written


def read_rows(file: Path) -> list[dict[str, Any]]:
    """Rows of a report: a list, or an object with a list ``rows``, of objects with ``accuracy`` and a name.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is no such report.
    """
    table = read_json(file)
    rows = table.get("rows") if isinstance(table, dict) else table
    if not isinstance(rows, list) or any(not isinstance(row, dict) for row in rows):
        raise ValueError(f"{file}: file must hold a list of rows, not {type(rows).__name__}")
    return [row for row in rows if isinstance(row.get("accuracy"), (int, float))]


def draw_metrics(lines: Lines) -> Figure:
    """Loss, and accuracies or what stands for them, over the epochs."""
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    epochs = [line["epoch"] for line in lines]
    left.plot(epochs, [line["loss"] for line in lines])
    left.set(xlabel="epoch", ylabel="training loss")
    unit = "PSNR (dB)" if any("psnr" in line for line in lines) else "accuracy (%)"
    for key, (label, factor) in CURVES.items():
        there = [line for line in lines if key in line]
        if there:
            right.plot([line["epoch"] for line in there], [factor * line[key] for line in there], label=label)
    right.set(xlabel="epoch", ylabel=unit)
    _legend(figure, right)
    return figure


def _legend(figure: Figure, axes: Axes, columns: int = 2) -> None:
    """What the curves are, above the picture: there it covers nothing."""
    handles, labels = axes.get_legend_handles_labels()
    if labels:
        names, curves = zip(*dict(zip(labels, handles, strict=True)).items(), strict=True)
        figure.legend(curves, names, loc="outside upper center", ncols=columns, fontsize=8, frameon=False)


def attention_names(lines: Lines) -> list[str]:
    """Metrics that are shares of a mixture's members."""
    return sorted({key for line in lines for key in line if key.startswith("attention")})


def draw_attention(lines: Lines) -> Figure:
    """Share of each member of the mixtures over the epochs, mean of the layers."""
    names = attention_names(lines)
    figure = Figure(figsize=(6, 3.5 + 0.15 * len(names) / 3), layout="constrained")
    axes = figure.subplots()
    for name in names:
        there = [line for line in lines if name in line]
        axes.plot([line["epoch"] for line in there], [line[name] for line in there], label=name)
    axes.set(xlabel="epoch", ylabel="share (mean of the layers)", ylim=(-0.02, 1.02))
    _legend(figure, axes, columns=3)
    return figure


def draw_quantizers(model: QuantModel) -> Figure:
    """For each layer with weights: their histogram, in LSBs of their channel, and what each number is rounded to."""
    layers = model.conv_layers[:MOST_LAYERS]
    rows = -(-len(layers) // COLUMNS)
    columns = min(COLUMNS, len(layers))
    figure = Figure(figsize=(3.6 * columns, 2.4 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat[len(layers) :]:
        axes.set_visible(False)
    for axes, layer in zip(grid.flat, layers, strict=False):
        x, numbers, rounded = quantizer_function(layer.weight_quantizer, layer.float_weight.detach())
        axes.hist(x.numpy(), bins=80, color="0.8")
        axes.set_title(layer.name, fontsize=8)
        axes.set_yticks([])
        steps = axes.twinx()
        steps.plot(numbers.numpy(), rounded.numpy(), linewidth=1)
        points = rounded.unique()
        if len(points) <= 64:
            steps.plot(points.numpy(), points.numpy(), ".", markersize=4)
        axes.tick_params(labelsize=6)
        steps.tick_params(labelsize=6)
    figure.supxlabel("weight (LSBs of its channel)", fontsize=9)
    figure.supylabel("histogram; right:\nrounded weight (LSBs)", fontsize=9)
    return figure


@torch.no_grad()
def quantizer_function(
    quantizer: WeightQuantizer, weight: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Weights in LSBs, flat; numbers over their range, ascending; and what these are rounded to (LSBs)."""
    x = (quantizer.prepare(weight) / per_channel(quantizer.scale)).flatten()
    numbers = torch.linspace(float(x.min()), float(x.max()), 2001)
    return x, numbers, quantizer.integers(numbers)


def two_word_ratios(model: QuantModel) -> dict[str, float]:
    """Part of the units with two words, by layer, where there is such a quantizer."""
    found = {layer.name: layer.weight_quantizer.facts().get("two_word_ratio") for layer in model.conv_layers}
    return {name: fact[0] / fact[1] for name, fact in found.items() if fact}


def draw_words(model: QuantModel) -> Figure:
    """Two-word ratio of each layer."""
    ratios = two_word_ratios(model)
    figure = Figure(figsize=(max(4.0, 0.35 * len(ratios)), 4.0), layout="constrained")
    axes = figure.subplots()
    axes.bar(list(ratios), [100 * ratio for ratio in ratios.values()])
    axes.set(ylabel="units with two words (%)")
    axes.tick_params(axis="x", rotation=90, labelsize=7)
    return figure


def draw_cost(rows: list[dict[str, Any]], key: str) -> Figure:
    """Accuracy of each row against its bits a weight or its cycles; the float network's as a line."""
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    there = [row for row in rows if isinstance(row.get(key), (int, float))]
    for row in there:
        axes.plot(row[key], 100 * row["accuracy"], "o", color="C0", markersize=4)
        name = str(row.get("recipe", row.get("name", "")))
        axes.annotate(name, (row[key], 100 * row["accuracy"]), fontsize=6, xytext=(3, 3), textcoords="offset points")
    for accuracy in {row["float_accuracy"] for row in there if isinstance(row.get("float_accuracy"), (int, float))}:
        axes.axhline(100 * accuracy, color="0.6", linewidth=1, linestyle="--", label="float")
    axes.set(xlabel={"weight_bits": "bits a weight", "cycles": "cycles an image"}[key], ylabel="accuracy (%)")
    _legend(figure, axes)
    return figure
