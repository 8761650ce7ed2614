"""The check of pictures finds what it is for; drawing leaves matplotlib's settings alone."""

import subprocess
import sys
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from tests.figures import faults


def drawn(**options):
    figure = Figure(figsize=(4, 3), **options)
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], label="curve")
    return figure, axes


def test_a_picture_without_faults():
    figure, axes = drawn(layout="constrained")
    axes.set(xlabel="x", ylabel="y", title="title")
    figure.legend(loc="outside upper center")
    assert faults(figure) == []


def test_a_label_beyond_the_edge_is_found():
    figure, axes = drawn()
    axes.set_xticks([0.5], ["label\n" * 9])
    assert faults(figure) == ["axis x of panel 0 is cut"]


def test_a_note_and_a_title_beyond_the_edge_are_found():
    figure, axes = drawn()
    axes.annotate("a long note at the end", (1, 0.5))
    axes.set_title("title " * 30)
    assert faults(figure) == ["text 'a long note at the end' is cut", f"text {'title ' * 30!r} is cut"]


@pytest.mark.parametrize("of_the_figure", [False, True])
def test_a_legend_on_the_data_is_found(of_the_figure):
    figure, axes = drawn(layout="constrained")
    (figure if of_the_figure else axes).legend(loc="center")
    assert faults(figure) == ["legend lies on panel 0"]


def test_a_legend_beyond_the_edge_is_found():
    figure, axes = drawn()
    axes.legend(loc="upper left", bbox_to_anchor=(1.05, 1))
    assert "legend is cut" in faults(figure)


DRAWING = (
    "twofold.demo.pictures",
    "twofold.mapper.timeline",
    "twofold.train.plots",
    "twofold.train.results_plot",
    "twofold.synth.report",
    "twofold.bench.frozen",
    "twofold.bench.pareto",
)


def test_every_module_that_draws_is_listed():
    using = [path for path in Path(".").glob("[a-z]*/**/*.py") if path.parts[0] not in ("build", "src", "tests")]
    drawing = [path for path in using if "matplotlib" in path.read_text(encoding="utf-8")]
    found = {".".join(("twofold", *path.with_suffix("").parts)) for path in drawing}
    assert found == set(DRAWING)


def test_drawing_leaves_matplotlib_as_it_is():
    program = f"""
import importlib, matplotlib, sys
before = dict(matplotlib.rcParams.copy())
for name in {DRAWING!r}:
    importlib.import_module(name)
import pathlib, tempfile
from matplotlib.figure import Figure
from twofold.synth.report import save_svg
with tempfile.TemporaryDirectory() as folder:
    save_svg(Figure(), pathlib.Path(folder) / "x.svg")
assert "matplotlib.pyplot" not in sys.modules
assert dict(matplotlib.rcParams.copy()) == before
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
