"""Pictures of runs, by the numbers drawn in them."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.figures import faults
from twofold.train.__main__ import main
from twofold.train.convert import calibrate, convert
from twofold.train.data import load_data
from twofold.train.models import build_model
from twofold.train.plots import (
    draw_attention,
    draw_cost,
    draw_metrics,
    draw_quantizers,
    draw_words,
    quantizer_function,
    read_rows,
)
from twofold.train.recipe import load_recipe
from twofold.train.runs import save_run

ROOT = Path(__file__).parents[2]
#: A report's rows are accuracies as parts of 1.
ROWS = [
    {"recipe": "a", "accuracy": 0.9, "weight_bits": 4, "cycles": 1000, "float_accuracy": 0.92},
    {"recipe": "b", "accuracy": 0.8, "weight_bits": 2, "cycles": 500, "float_accuracy": 0.92},
    {"recipe": "c", "accuracy": "not run"},
]


def quantized(name):
    recipe = load_recipe(ROOT / "recipes" / f"{name}.toml")
    data = load_data("digits")
    torch.manual_seed(0)
    model = convert(build_model("demo").eval(), recipe, data.input)
    calibrate(model, data.train_x[:64])
    model.finish()
    return model, recipe


def test_plot_command(tmp_path, capsys):
    model, recipe = quantized("stlq_w3a4_r10")
    run, report = tmp_path / "run", tmp_path / "report.json"
    run.mkdir()
    (run / "metrics.jsonl.part").write_text('{"epoch": 1, "loss": 2.0, "train_accuracy": 0.5, "attention0": 0.7}\n')
    save_run(run, model, {"model": "demo", "data": "digits", "accuracy": 0.5}, replace(recipe))
    report.write_text(json.dumps(ROWS))
    (run / "plots").mkdir()
    (run / "plots" / ".bits.png.part").write_text("of a killed run")
    assert main(["plot", str(run), "--report", str(report)]) == 0
    files = [Path(line) for line in capsys.readouterr().out.splitlines()]
    names = {"metrics.png", "attention.png", "quantizers.png", "words.png", "bits.png", "cycles.png"}
    assert {file.name for file in files} == names
    assert {file.name for file in (run / "plots").iterdir()} == names
    for file in files:
        pixels = np.asarray(Image.open(file).convert("L"))
        assert min(pixels.shape) > 200 and 0.001 < (pixels < 200).mean() < 0.9, file.name
    report.write_text('{"rows": 3}')
    assert main(["plot", str(run), "--report", str(report)]) == 2
    assert capsys.readouterr().err == f"error: {report}: file must hold a list of rows, not int\n"


def test_only_what_there_is(tmp_path, capsys):
    torch.manual_seed(0)
    save_run(tmp_path / "float", build_model("demo"), {"model": "demo", "data": "digits"})
    assert main(["plot", str(tmp_path / "float")]) == 0
    assert capsys.readouterr().out == ""


def test_quantizers_are_drawn_with_their_points():
    model, _ = quantized("subset_w3a8")
    layer = model.conv_layers[1]
    x, numbers, rounded = quantizer_function(layer.weight_quantizer, layer.float_weight.detach())
    assert len(x) == layer.float_weight.numel() and float(x.min()) == float(numbers[0])
    levels = {float(level) for level in layer.weight_quantizer.levels}
    assert {abs(v) for v in rounded.tolist()} <= levels and len(set(rounded.tolist())) > len(levels)
    figure = draw_quantizers(model)
    visible = [axes for axes in figure.axes if axes.get_visible()]
    assert len(visible) == 2 * len(model.conv_layers)
    curve, points = visible[len(model.conv_layers) + 1].lines
    assert np.array_equal(curve.get_ydata(), rounded.numpy())
    assert set(points.get_ydata()) == set(rounded.tolist())


def test_words_by_layer():
    model, _ = quantized("stlq_w3a4_r10")
    (axes,) = draw_words(model).axes
    inner = model.conv_layers[1:-1]
    assert [label.get_text() for label in axes.get_xticklabels()] == [layer.name for layer in inner]
    heights = [bar.get_height() for bar in axes.patches]
    assert heights == [100 * float((layer.weight_quantizer.chosen != 0).double().mean()) for layer in inner]
    assert 5 < heights[0] < 20


def test_attention_over_time():
    (axes,) = draw_attention([{"epoch": 1, "attention0": 0.6, "attention1": 0.4}, {"epoch": 2, "attention0": 0.9}]).axes
    first, second = axes.lines
    assert list(first.get_xdata()) == [1, 2] and list(first.get_ydata()) == [0.6, 0.9]
    assert list(second.get_xdata()) == [1] and list(second.get_ydata()) == [0.4]


def test_accuracy_against_cost(tmp_path):
    (tmp_path / "r.json").write_text(json.dumps({"rows": ROWS}))
    rows = read_rows(tmp_path / "r.json")
    assert [row["recipe"] for row in rows] == ["a", "b"]
    (axes,) = draw_cost(rows, "cycles").axes
    dots = [
        (float(line.get_xdata()[0]), float(line.get_ydata()[0])) for line in axes.lines if len(line.get_xdata()) == 1
    ]
    assert dots == [(1000, 90.0), (500, 80.0)]
    assert [text.get_text() for text in axes.texts] == ["a", "b"]
    assert sum(list(line.get_ydata()) == [92.0, 92.0] for line in axes.lines) == 1
    (tmp_path / "r.json").write_text("[")
    with pytest.raises(ValueError, match=rf"^{re.escape(str(tmp_path / 'r.json'))}: file must be JSON, not this: "):
        read_rows(tmp_path / "r.json")


def test_nothing_is_cut_or_covered():
    epochs = range(1, 9)
    names = [f"attention{n}_of_a_member" for n in range(5)]
    lines = [
        {"epoch": n, "loss": 1 / n, "accuracy": 1 - 1 / n, "train_accuracy": 1 - 0.5 / n, **dict.fromkeys(names, 0.2)}
        for n in epochs
    ]
    rows = [
        {"recipe": f"attention_minmax_w2a{n}", "accuracy": 0.5 + n / 20, "cycles": 10.0**n, "float_accuracy": 0.95}
        for n in range(9)
    ]
    model, _ = quantized("stlq_w3a4_r10")
    figures = [draw_metrics(lines), draw_metrics(lines[:1]), draw_attention(lines), draw_cost(rows, "cycles")]
    figures += [draw_cost(ROWS, "weight_bits"), draw_quantizers(model), draw_words(model)]
    assert [faults(figure) for figure in figures] == [[]] * len(figures)
