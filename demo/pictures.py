"""The demo's pictures, as PNG in base64 so that a page can hold them."""

import base64
import io
from collections.abc import Sequence

import matplotlib

matplotlib.use("Agg")
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from numpy.typing import NDArray

from demo.variants import Outcome
from golden.timing import SPENT
from train.data import DataSet

COLOURS = ("#2b6cb0", "#c05621", "#2f855a", "#6b46c1")


def _encoded(figure: Figure) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, bbox_inches="tight")
    plt.close(figure)
    return base64.b64encode(buffer.getvalue()).decode()


def weight_histograms(outcome: Outcome) -> str:
    """Float weights of every layer, each channel in its own LSBs, and the integers that they became."""
    convs = outcome.quantized.model.conv_layers
    branches = {layer.name: layer.branches[0] for layer in outcome.network.layers}
    figure, axes = plt.subplots(1, len(convs), figsize=(3.6 * len(convs), 2.8), squeeze=False)
    for axis, conv in zip(axes[0], convs, strict=True):
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
    axes[0][0].legend(fontsize=7)
    return _encoded(figure)


def _step(integers: NDArray[np.int64], weights: NDArray[np.float64]) -> float:
    ratio = np.abs(integers).sum() / max(np.abs(weights).sum(), 1e-12)
    return float(2.0 ** np.round(np.log2(ratio)))


def layer_errors(outcomes: Sequence[Outcome], data: DataSet) -> tuple[str, list[dict[str, float]]]:
    """Error of each layer's output against the float layers': root mean square, relative; picture and figures."""
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
    figure, axis = plt.subplots(figsize=(7, 3))
    names = list(figures[0])
    width = 0.8 / len(outcomes)
    for n, (outcome, errors) in enumerate(zip(outcomes, figures, strict=True)):
        places = np.arange(len(names)) + n * width
        axis.bar(places, [100 * errors[name] for name in names], width, color=COLOURS[n], label=outcome.variant.name)
    axis.set_xticks(np.arange(len(names)) + 0.4 - width / 2, names, fontsize=8)
    axis.set_ylabel("relative error (%)", fontsize=8)
    axis.legend(fontsize=8)
    return _encoded(figure), figures


def accuracies(outcomes: Sequence[Outcome]) -> str:
    """Held-out accuracy: float, PyTorch's fake quantization, integers (PyTorch = golden), RTL."""
    figure, axis = plt.subplots(figsize=(7, 2.6))
    kinds = ("float", "fake-quantized", "integers", "RTL")
    for n, outcome in enumerate(outcomes):
        values = (
            outcome.quantized.float_accuracy,
            outcome.quantized.accuracy,
            outcome.golden_accuracy,
            outcome.rtl_accuracy,
        )
        places = np.arange(len(kinds)) + n * 0.26
        axis.bar(places, [100 * value for value in values], 0.25, color=COLOURS[n], label=outcome.variant.name)
    axis.set_xticks(np.arange(len(kinds)) + 0.26, kinds, fontsize=8)
    axis.set_ylim(90, 100)
    axis.set_ylabel("accuracy (%), from 90", fontsize=8)
    axis.legend(fontsize=7, loc="lower right")
    return _encoded(figure)


def cycles(outcomes: Sequence[Outcome]) -> str:
    """Where the cycles of an image went: layer by layer, what each waited for."""
    figure, axes = plt.subplots(1, len(outcomes), figsize=(3.8 * len(outcomes), 2.8), sharey=True, squeeze=False)
    for axis, outcome in zip(axes[0], outcomes, strict=True):
        names = [layer.name for layer in outcome.image.layers]
        bottom = np.zeros(len(names))
        for n, what in enumerate(SPENT):
            spent = np.array([layer.spent[what] for layer in outcome.image.layers])
            axis.bar(names, spent, bottom=bottom, color=COLOURS[n], label=what)
            bottom += spent
        axis.set_title(f"{outcome.variant.name}: {outcome.image.cycles} cycles", fontsize=9)
        axis.tick_params(labelsize=7, axis="both")
        axis.set_xticks(range(len(names)), names, rotation=30, ha="right")
    axes[0][0].set_ylabel("cycles an image", fontsize=8)
    axes[0][0].legend(fontsize=7)
    return _encoded(figure)
