"""What every picture that the project draws must be: nothing cut, no legend on the data."""

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

#: Pixels by which rounding may move an edge.
TOLERANCE = 0.5


def faults(figure: Figure) -> list[str]:
    """Texts and legends that are cut by the figure's edge, and legends that lie on a panel or its labels."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    visible = [axes for axes in figure.axes if axes.get_visible()]
    texts = [(f"text {text.get_text()!r}", text.get_window_extent(renderer)) for text in _texts(figure, visible)]
    axes = [(f"axis {n} of panel {m}", box) for m, one in enumerate(visible) for n, box in _axis_boxes(one, renderer)]
    legends = [("legend", legend.get_window_extent(renderer)) for legend in figure.legends]
    legends += [("legend", one.get_legend().get_window_extent(renderer)) for one in visible if one.get_legend()]
    found = [f"{what} is cut" for what, box in [*texts, *axes, *legends] if not _inside(box, figure.bbox)]
    panels = [(f"panel {n}", _panel(one, renderer)) for n, one in enumerate(visible)]
    return found + [f"{what} lies on {on}" for what, box in legends for on, panel in panels if _overlap(box, panel)]


def _texts(figure: Figure, visible: list[Axes]) -> list[Text]:
    """Titles, notes and legends' entries; numbers at ticks are of `_axis_boxes`, which leaves out those not drawn."""
    found = [*figure.texts, *(text for legend in figure.legends for text in legend.get_texts())]
    for one in visible:
        found += [*one.texts, one.title]
    return [text for text in found if text.get_visible() and text.get_text()]


def _axis_boxes(axes: Axes, renderer) -> list[tuple[str, Bbox]]:
    boxes = [(name, getattr(axes, f"{name}axis").get_tightbbox(renderer)) for name in "xy"]
    return [(name, box) for name, box in boxes if box is not None]


def _panel(axes: Axes, renderer) -> Bbox:
    """The panel with its labels and data, without its legend."""
    data = [artist for artist in axes.get_children() if artist is not axes.get_legend()]
    return Bbox.union([axes.get_window_extent(renderer), axes.get_tightbbox(renderer, bbox_extra_artists=data)])


def _inside(box: Bbox, whole: Bbox) -> bool:
    return (
        box.x0 >= whole.x0 - TOLERANCE
        and box.y0 >= whole.y0 - TOLERANCE
        and box.x1 <= whole.x1 + TOLERANCE
        and box.y1 <= whole.y1 + TOLERANCE
    )


def _overlap(one: Bbox, other: Bbox) -> bool:
    return (
        min(one.x1, other.x1) - max(one.x0, other.x0) > TOLERANCE
        and min(one.y1, other.y1) - max(one.y0, other.y0) > TOLERANCE
    )
