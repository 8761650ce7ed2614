"""An inference as a picture: a bar a layer from its first cycle to its last, by what the cycles went to.

It needs matplotlib, which mapping does not: commands import this module only where a picture is asked for.
"""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from twofold.golden.causes import LOST
from twofold.golden.image import Image
from twofold.support.files import write_bytes

COLOURS = dict(
    zip(
        LOST,
        ("#2b6cb0", "#bee3f8", "#63b3ed", "#6b46c1", "#dd6b20", "#975a16", "#2f855a", "#718096", "#d53f8c", "#1a202c"),
        strict=True,
    )
)
#: Inches.
WIDTH, LAYER, REST = 10.0, 0.2, 0.75


def timeline(images: Mapping[str, Image]) -> Figure:
    """A panel an image under its title; in a layer's bar the causes stand in the order of `golden.causes.LOST`."""
    heights = [REST + LAYER * len(image.layers) for image in images.values()]
    figure = Figure(figsize=(WIDTH, sum(heights) + 0.4), layout="constrained")
    panels = figure.subplots(len(heights), 1, squeeze=False, height_ratios=heights)
    for axis, (title, image) in zip(panels[:, 0], images.items(), strict=True):
        rows = range(len(image.layers))
        begins = [sum(layer.cycles for layer in image.layers[:n]) for n in rows]
        for name in LOST:
            widths = [layer.lost[name] for layer in image.layers]
            axis.barh(rows, widths, left=begins, height=0.8, color=COLOURS[name], label=name)
            begins = [begin + width for begin, width in zip(begins, widths, strict=True)]
        axis.set_title(f"{title}: {image.cycles:,} cycles, {100 * image.utilisation():.1f} % useful", fontsize=9)
        axis.set_yticks(rows, [layer.name for layer in image.layers])
        axis.invert_yaxis()
        axis.set_xlim(0, image.cycles)
        axis.tick_params(labelsize=7)
    panels[-1, 0].set_xlabel("cycle", fontsize=8)
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(LOST), fontsize=8, frameon=False)
    return figure


def save_timeline(images: Sequence[Image], path: Path) -> None:
    """Write the picture of some images as SVG, whole or not at all; the same bytes for the same images."""
    drawn = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "twofold"}):
        timeline({f"{one.network} on {one.config.name}": one for one in images}).savefig(
            drawn, format="svg", metadata={"Date": None}
        )
    write_bytes(path, drawn.getvalue())
