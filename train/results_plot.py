"""What networks make of some held-out images, side by side: masks, boxes, images."""

from collections.abc import Mapping
from typing import Any

import torch
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from numpy.typing import NDArray
from torch import Tensor, nn

from twofold.train.data import DataSet, PixelImages
from twofold.train.tasks import TASKS

#: Images in a picture.
SHOWN = 4
#: What is brightened to be seen: sensors' numbers are linear.
GAMMA = 1 / 2.2


@torch.no_grad()
def draw_results(models: Mapping[str, nn.Module], data: DataSet, count: int = SHOWN) -> Figure:
    """A row an image: the image, what each model makes of it, and what it is.

    Parameters
    ----------
    models
        By the names that stand above their columns.
    count
        Images, spread over the held-out ones.
    """
    task, count = TASKS[data.task], min(count, len(data.test_x))
    places = torch.linspace(0, len(data.test_x) - 1, count).long()
    columns = {name: task.answers(model.eval()(data.test_x[places])) for name, model in models.items()}
    columns["truth"] = task.truths(data.test_y[places])
    images = [visible(data, int(place)) for place in places]
    high, wide = images[0].shape[:2]
    size = (2.4 * (len(columns) + 1), 2.4 * count * high / wide + 0.6)
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(count, len(columns) + 1, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for row, image in zip(grid, images, strict=True):
        row[0].imshow(image)
    grid[0, 0].set_title("input", fontsize=9)
    for column, (name, found) in enumerate(columns.items(), 1):
        grid[0, column].set_title(name, fontsize=9)
        for row, image, one in zip(grid, images, found, strict=True):
            _draw(row[column], image, one, data)
    if data.names:
        patches = [Patch(color=_colour(n), label=name) for n, name in enumerate(data.names)]
        figure.legend(handles=patches, loc="outside lower center", ncols=6, fontsize=7, frameon=False)
    return figure


def visible(data: DataSet, place: int) -> NDArray[Any]:
    """A held-out image as it looks, 0 to 1, shape (H, W, 3)."""
    if isinstance(data.test_x, PixelImages):
        return (data.test_x.pixels[place].float() / 255).permute(1, 2, 0).numpy()
    image = data.test_x[[place]][0]
    if len(image) == 4:  # a packed mosaic: red, twice green, blue
        image = torch.stack((image[0], (image[1] + image[2]) / 2, image[3])).clamp(min=0) ** GAMMA
    return image[:3].clamp(0, 1).permute(1, 2, 0).numpy()


def _draw(axes: Axes, image: NDArray[Any], found: Tensor, data: DataSet) -> None:
    if data.task == "enhancement":
        axes.imshow(found.permute(1, 2, 0).numpy())
        return
    if data.task == "segmentation":
        colours = torch.zeros(256, 3)
        colours[: data.classes] = torch.tensor([_colour(n) for n in range(data.classes)])
        axes.imshow(colours[found.long()].numpy())
        return
    axes.imshow(image)
    high, wide = image.shape[:2]
    for label, left, top, right, bottom in found[:, :5].tolist():
        # The middle of the first pixel is at 0.
        corner, width, height = (left * wide - 0.5, top * high - 0.5), (right - left) * wide, (bottom - top) * high
        axes.add_patch(Rectangle(corner, width, height, fill=False, color=_colour(int(label) - 1)))


def _colour(number: int) -> tuple[float, float, float]:
    red, green, blue, _ = colormaps["tab20"](number % 20)
    return red, green, blue
