"""The demo's pictures, and as PNG in base64 so that a page can hold them."""

import base64
import io
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from twofold.demo.variants import Outcome
from twofold.mapper.timeline import timeline
from twofold.train.data import DataSet

COLOURS = ("#2b6cb0", "#c05621", "#2f855a", "#6b46c1")


#: Width of every picture (inches at `DPI`): a page of 1280 pixels shows it in full size.
WIDTH, DPI = 10.0, 110
#: Panels side by side in a picture of weights.
COLUMNS = 4


def encoded(figure: Figure) -> str:
    """The picture as base64."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI)
    return base64.b64encode(buffer.getvalue()).decode()


def weight_histograms(outcome: Outcome) -> Figure:
    """Float weights of every layer, each channel in its own LSBs, and the integers that they became."""
    convs = outcome.quantized.model.conv_layers
    branches = {layer.name: layer.branches[0] for layer in outcome.network.layers}
    rows = -(-len(convs) // COLUMNS)
    figure = Figure(figsize=(WIDTH, 2.6 * rows + 0.4), layout="constrained")
    grid = figure.subplots(rows, min(COLUMNS, len(convs)), squeeze=False)
    for axis in grid.flat[len(convs) :]:
        axis.remove()
    for axis, conv in zip(grid.flat, convs, strict=False):
        scale = conv.weight_quantizer.scale.detach().double().numpy().reshape(-1, 1, 1, 1)
        weights = conv.float_weight.detach().double().numpy().reshape(conv.weight_quantizer.shape) / scale
        branch = branches[conv.name]
        coded = branch.weights(outcome.network.point_sets[branch.point_set])
        # Residual layers carry fraction bits: the same weights, shifted.
        integers = coded / _step(coded, weights)
        axis.hist(weights.ravel(), bins=80, color="#cbd5e0", label="float")
        points, counts = np.unique(integers, return_counts=True)
        heights = axis.get_ylim()[1] * counts / counts.max()
        axis.vlines(points, 0, heights, COLOURS[0], lw=1.2)
        axis.plot(points, heights, ".", color=COLOURS[0], ms=4, label="points used")
        axis.set_title(f"{conv.name}: {len(points)} values", fontsize=9)
        axis.set_xlabel("weight (LSBs)", fontsize=8)
        axis.set_yticks([])
        axis.tick_params(labelsize=7)
    _legend(figure)
    return figure


def _legend(figure: Figure) -> None:
    """What the first panel's colours mean, above all panels: there it covers nothing."""
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), fontsize=8, frameon=False)


def _step(integers: NDArray[np.int64], weights: NDArray[np.float64]) -> float:
    ratio = np.abs(integers).sum() / max(np.abs(weights).sum(), 1e-12)
    return float(2.0 ** np.round(np.log2(ratio)))


def layer_errors(outcomes: Sequence[Outcome], data: DataSet) -> list[dict[str, float]]:
    """Error of each layer's output against the float layers': root mean square, relative; one table a variant."""
    figures = []
    for outcome in outcomes:
        model = outcome.quantized.model
        model.enable(False)
        real = model.trace(data.test_x)
        model.enable(True)
        errors = {}
        for layer in outcome.network.layers:
            wanted = real[layer.name].detach().double().numpy().reshape(len(data.test_x), -1)
            found = outcome.tensors[layer.name].reshape(len(data.test_x), -1) * layer.output.scale
            errors[layer.name] = float(np.sqrt(((found - wanted) ** 2).mean() / (wanted**2).mean()))
        figures.append(errors)
    return figures


def errors_by_layer(outcomes: Sequence[Outcome], errors: Sequence[dict[str, float]]) -> Figure:
    """`layer_errors` as bars: a group a layer, a bar a variant."""
    names = list(errors[0])
    values = [[100 * one[name] for name in names] for one in errors]
    return _bars(outcomes, names, values, "relative error (%)")


def accuracies(outcomes: Sequence[Outcome]) -> Figure:
    """Held-out accuracy: float, PyTorch's fake quantization, integers (PyTorch = golden), RTL."""
    kinds = ("float", "fake-quantized", "integers", "RTL")
    values = [
        [
            100 * accuracy
            for accuracy in (
                outcome.quantized.float_accuracy,
                outcome.quantized.accuracy,
                outcome.golden_accuracy,
                outcome.rtl_accuracy,
            )
        ]
        for outcome in outcomes
    ]
    least = min(min(value) for value in values)
    # Bars that differ by tenths are told apart from 90 on; worse ones must still be seen.
    bottom = 90 if least > 90 else 0
    return _bars(outcomes, kinds, values, f"accuracy (%), from {bottom}", bounds=(bottom, 100))


def _bars(
    outcomes: Sequence[Outcome],
    names: Sequence[str],
    values: Sequence[Sequence[float]],
    label: str,
    bounds: tuple[float, float] | None = None,
) -> Figure:
    """Groups of bars, one a variant in each."""
    figure = Figure(figsize=(WIDTH, 3.4), layout="constrained")
    axis = figure.subplots()
    width = 0.8 / len(outcomes)
    for n, (outcome, heights) in enumerate(zip(outcomes, values, strict=True)):
        axis.bar(np.arange(len(names)) + n * width, heights, width, color=COLOURS[n], label=outcome.variant.name)
    axis.set_xticks(np.arange(len(names)) + 0.4 - width / 2, names, fontsize=8)
    if bounds:
        axis.set_ylim(*bounds)
    axis.set_ylabel(label, fontsize=8)
    axis.tick_params(axis="y", labelsize=8)
    _legend(figure)
    return figure


def timelines(outcomes: Sequence[Outcome]) -> Figure:
    """Where the cycles of an image went, layer after layer."""
    return timeline({outcome.variant.name: outcome.image for outcome in outcomes})
