"""Accuracy against area and cycles: the measured rows of docs/results.json on the arrays that bench.area measured.

A point is a recipe on ResNet-20: its integer accuracy, the cycles of an inference, and the area of the 16x16 array of
its build's PE. Subset quantization takes one word a weight, so its rows without cycles cost what such a network
costs; other rows without cycles are left out.
"""

import json
import sys
from typing import Any

from matplotlib.figure import Figure

from twofold.bench import area
from twofold.bench.tools.console import run_benchmark, show_table
from twofold.bench.utilisation import measure
from twofold.golden.config import load_config
from twofold.support.commands import Parser
from twofold.support.files import write_text
from twofold.support.output import build_folder
from twofold.support.resources import SOURCES
from twofold.synth.report import save_svg

RESULTS = SOURCES / "docs" / "results.json"
REPORT = build_folder("bench", "pareto.json")
PICTURE = build_folder("bench", "pareto.svg")
#: The element of `bench.area` that a build's array consists of.
ELEMENTS = {"log_16x16": "log3", "subset_16x16": "subset4"}
MACS = 256


def front(candidates: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The candidates that no other beats: none is as accurate at less area x cycles, or more accurate at as much."""
    best: list[dict[str, Any]] = []
    for point in sorted(candidates, key=lambda point: (point["cost"], -point["accuracy"])):
        if not best or point["accuracy"] > best[-1]["accuracy"]:
            best.append(point)
    return best


def candidates(rows: list[dict[str, Any]], areas: dict[str, Any], plain_cycles: dict[str, int]) -> list[dict[str, Any]]:
    """A point for each row of ResNet-20.

    Parameters
    ----------
    rows
        Rows of docs/results.json.
    areas
        By element, with `per_mac`.
    plain_cycles
        By build, the cycles of a network of one word a weight.
    """
    found = []
    for row in rows:
        if row["network"] != "resnet20" or row.get("build") not in ELEMENTS or "integer_accuracy" not in row:
            continue
        if not row.get("cycles") and not row["recipe"].startswith("sq_"):
            continue
        array = areas[ELEMENTS[row["build"]]]["per_mac"] * MACS
        cycles = row.get("cycles") or plain_cycles[row["build"]]
        found.append(
            {
                "recipe": row["recipe"],
                "build": row["build"],
                "accuracy": round(100 * row["integer_accuracy"], 2),
                "drop": round(100 * (row["float_accuracy"] - row["integer_accuracy"]), 2),
                "cycles": cycles,
                "area": round(array, 1),
                "cost": round(array * cycles / 1e9, 4),
            }
        )
    return found


def picture(found: list[dict[str, Any]], best: list[dict[str, Any]], label: str) -> Figure:
    """Points below float against cost, both logarithmic, the best joined by a line."""
    figure = Figure(figsize=(9, 6), layout="constrained")
    axes = figure.add_subplot()
    for build, marker, column, top in (("log_16x16", "o", 0.18, 0.62), ("subset_16x16", "s", 0.7, 0.95)):
        own = sorted((point for point in found if point["build"] == build), key=lambda point: -point["accuracy"])
        axes.scatter([p["cost"] for p in own], [p["drop"] for p in own], marker=marker, label=build)
        for place, point in enumerate(own):
            # Labels stand in a column beside their points, which lie too close for labels of their own.
            axes.annotate(
                f"{point['recipe'].removesuffix('_cifar')} {point['accuracy']:.2f}",
                (point["cost"], point["drop"]),
                xytext=(column, top - 0.8 * place / max(15, len(own))),
                textcoords="axes fraction",
                fontsize=7,
                va="center",
                arrowprops={"arrowstyle": "-", "color": "lightgrey", "linewidth": 0.6},
            )
    axes.plot([p["cost"] for p in best], [p["drop"] for p in best], color="grey", linewidth=1, zorder=0)
    axes.set(xscale="log", yscale="log", xlabel=label, ylabel="ResNet-20, CIFAR-10: points below float, integers")
    axes.set_xlim(right=1.27 * max(point["cost"] for point in found))
    axes.xaxis.set_minor_formatter("{x:.0f}")
    axes.invert_yaxis()
    figure.legend(loc="outside upper center", ncols=2, frameon=False)
    return figure


def main(arguments: list[str] | None = None) -> int:
    """Write the table and the picture."""
    parser = Parser(prog="twofold bench pareto", description=str(__doc__).split("\n", 1)[0])
    parser.parse_args(arguments)
    if not area.REPORT.is_file():
        print(f"not run: it needs {area.REPORT} (make bench BENCH=area)")
        return 0
    if not RESULTS.is_file():
        print(f"not run: it needs {RESULTS}, of a clone of the sources")
        return 0
    areas = json.loads(area.REPORT.read_text(encoding="utf-8"))["area"]
    technology = next((name for name in areas if not name.startswith("ecp5")), "ecp5")
    unit = "LUT sites" if technology == "ecp5" else "um2"
    plain = {build: measure("resnet20", load_config(build))["cycles"] for build in ELEMENTS}
    found = candidates(json.loads(RESULTS.read_text(encoding="utf-8")), areas[technology], plain)
    best = front(found)
    heads = ("recipe", "build", "accuracy", "cycles", f"{unit} of the array", "product, 1e9", "on the front")
    lines = []
    for point in sorted(found, key=lambda point: point["cost"]):
        numbers = (f"{point['accuracy']:.2f}", f"{point['cycles']:,}", f"{point['area']:,.0f}", f"{point['cost']:.2f}")
        lines.append((point["recipe"], point["build"], *numbers, "*" if point in best else ""))
    show_table("Accuracy and cost of the quantized networks", heads, lines)
    figure = picture(found, best, f"array area x cycles of an inference ({technology}, 1e9 {unit} cycles)")
    save_svg(figure, PICTURE)
    write_text(REPORT, json.dumps({"technology": technology, "points": found, "front": best}, indent=2) + "\n")
    print(f"picture: {PICTURE}")
    return 0


if __name__ == "__main__":
    sys.exit(run_benchmark(main))
