"""The report of `make synth`: a table on the terminal and a picture."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from rich.table import Table

from twofold.support.files import write_bytes
from twofold.synth.measure import ASIC

Row = dict[str, Any]
#: What a technology's table shows: heading and key.
COLUMNS = {
    "ecp5": (("LUT4 sites", "luts"), ("CCU2C", "carries"), ("FF", "ffs"), ("DP16KD", "brams")),
    "ice40": (("LUT4", "luts"), ("CARRY", "carries"), ("FF", "ffs"), ("RAM4K", "brams")),
    ASIC: (("area um2", "area"), ("of it FF", "sequential"), ("FF", "ffs"), ("memory bits", "memory_bits")),
}
#: What a technology's picture shows.
SIZE = {"ecp5": ("luts", "LUT4 sites"), "ice40": ("luts", "LUT4"), ASIC: ("area", "area (um2), memories left out")}


def groups(rows: Sequence[Row]) -> dict[tuple[str, str], list[Row]]:
    """Rows by configuration and technology."""
    found: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        found.setdefault((row["configuration"], row["technology"]), []).append(row)
    return found


def table(configuration: str, technology: str, rows: Sequence[Row]) -> Table:
    """The table of one build in one technology."""
    shown = Table(title=f"{configuration}, {technology}")
    shown.add_column("component")
    for heading, _ in COLUMNS[technology]:
        shown.add_column(heading, justify="right")
    shown.add_column("multipliers", justify="right")
    shown.add_column("MHz", justify="right")
    shown.add_column("critical path", overflow="fold")
    for row in rows:
        values = [f"{round(row[key]):,}" for _, key in COLUMNS[technology]]
        fmax = f"{row['fmax']:.1f}" if row["fmax"] else "-"
        shown.add_row(row["component"], *values, str(row["multipliers"]), fmax, path_text(row))
    return shown


def path_text(row: Row) -> str:
    """Where a row's critical path begins and ends, or why there is none."""
    path = row.get("path")
    return f"{path['from']} to {path['to']}" if path else row.get("reason", "")


def picture(rows: Sequence[Row]) -> Figure:
    """Area of every component: one panel a technology, one bar a configuration."""
    technologies = list(dict.fromkeys(row["technology"] for row in rows))
    figure = Figure(figsize=(6.4 * len(technologies), 4.6), layout="constrained")
    axes = figure.subplots(1, len(technologies), squeeze=False)
    colours = {name: f"C{n}" for n, name in enumerate(dict.fromkeys(row["configuration"] for row in rows))}
    bars = {}
    for axis, technology in zip(axes[0], technologies, strict=True):
        key, label = SIZE[technology]
        here = [row for row in rows if row["technology"] == technology]
        components = [name for name in dict.fromkeys(row["component"] for row in here)][::-1]
        configurations = list(dict.fromkeys(row["configuration"] for row in here))
        height = 0.8 / len(configurations)
        for n, configuration in enumerate(configurations):
            sizes = {row["component"]: row[key] for row in here if row["configuration"] == configuration}
            places = [i + 0.4 - (n + 0.5) * height for i in range(len(components))]
            lengths, colour = [sizes.get(name, 0) for name in components], colours[configuration]
            bars[configuration] = axis.barh(places, lengths, height, color=colour)
        axis.set_yticks(range(len(components)), components)
        axis.set_xlabel(label)
        axis.set_title(technology)
    figure.legend(bars.values(), bars.keys(), loc="outside upper center", ncols=3, fontsize=8, frameon=False)
    return figure


def save_svg(figure: Figure, path: Path) -> None:
    """Write a picture whole or not at all, the same bytes for the same picture."""
    drawn = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "twofold"}):
        figure.savefig(drawn, format="svg", metadata={"Date": None})
    write_bytes(path, drawn.getvalue())
