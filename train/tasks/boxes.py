"""Boxes of SSD: those that each position of each map stands for, their coding, matching, and suppression.

Boxes are parts of the image's sides. Source: [SSD], section 2; the finest map's three boxes are our choice.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

#: Scale of the squares of the second map and of the last, and sides' ratios of the boxes besides them.
LEAST, MOST, RATIOS = 0.2, 0.95, (2.0, 0.5, 3.0, 1 / 3)
#: Scale and ratio of the boxes of the finest map, where small things are found.
FINEST = ((0.08, 1.0), (0.2, 1.0), (0.2, 0.5))
#: Offsets are told in these parts: of the centre, and of the logarithms of the sides.
VARIANCES = (0.1, 0.2)
#: Overlap from which on a box stands for a truth.
MATCH = 0.5


def shapes(maps: int) -> list[list[tuple[float, float]]]:
    """(width, height) of the boxes of each map, finest first."""
    scales = [LEAST + (MOST - LEAST) * n / max(1, maps - 1) for n in range(maps)] + [1.0]
    pairs = [list(FINEST)]
    for here, there in pairwise(scales[1:]):
        pairs.append([(here, 1.0), *((here, ratio) for ratio in RATIOS), ((here * there) ** 0.5, 1.0)])
    return [[(scale * ratio**0.5, scale / ratio**0.5) for scale, ratio in one] for one in pairs]


def anchors(sizes: Sequence[tuple[int, int]]) -> Tensor:
    """Centre and sides of every box, shape (boxes, 4): by map, row, column and kind.

    Parameters
    ----------
    sizes
        (height, width) of each map.
    """
    found = []
    for (high, wide), kinds in zip(sizes, shapes(len(sizes)), strict=True):
        rows, columns = (torch.arange(high) + 0.5) / high, (torch.arange(wide) + 0.5) / wide
        y, x = torch.meshgrid(rows, columns, indexing="ij")
        centres = torch.stack((x.flatten(), y.flatten()), 1)
        sides = torch.tensor(kinds).repeat(len(centres), 1)
        found.append(torch.cat((centres.repeat_interleave(len(kinds), 0), sides), 1))
    return torch.cat(found)


def corners(boxes: Tensor) -> Tensor:
    """Left, top, right and bottom of boxes of centre and sides, shape (..., 4)."""
    centre, half = boxes[..., :2], boxes[..., 2:] / 2
    return torch.cat((centre - half, centre + half), -1)


def overlaps(some: Tensor, others: Tensor) -> Tensor:
    """Intersection over union of all pairs of boxes of corners, shape (some, others)."""
    top = torch.maximum(some[:, None, :2], others[None, :, :2])
    bottom = torch.minimum(some[:, None, 2:], others[None, :, 2:])
    common = (bottom - top).clamp(min=0).prod(2)
    areas = [(one[:, 2:] - one[:, :2]).clamp(min=0).prod(1) for one in (some, others)]
    return common / (areas[0][:, None] + areas[1][None] - common).clamp(min=1e-9)


def encoded(truths: Tensor, near: Tensor) -> Tensor:
    """Offsets that say boxes of corners from boxes of centre and sides, shape (boxes, 4)."""
    centre, sides = (truths[:, :2] + truths[:, 2:]) / 2, truths[:, 2:] - truths[:, :2]
    moves = (centre - near[:, :2]) / near[:, 2:] / VARIANCES[0]
    return torch.cat((moves, torch.log(sides.clamp(min=1e-6) / near[:, 2:]) / VARIANCES[1]), 1)


def decoded(offsets: Tensor, near: Tensor) -> Tensor:
    """Boxes of corners that offsets say, shape (..., boxes, 4)."""
    centre = near[:, :2] + offsets[..., :2] * VARIANCES[0] * near[:, 2:]
    return corners(torch.cat((centre, near[:, 2:] * torch.exp((offsets[..., 2:] * VARIANCES[1]).clamp(max=4))), -1))


def matched(targets: Tensor, near: Tensor) -> tuple[Tensor, Tensor]:
    """Class of each box (0: nothing), shape (boxes,), and the corners of what it stands for.

    Each truth has the box that overlaps it most; others stand for what they overlap most, from `MATCH` on.

    Parameters
    ----------
    targets : shape (most, 5)
        Class and corners of an image's truths; class 0 is none.
    """
    truths = targets[targets[:, 0] > 0]
    if not len(truths):
        return torch.zeros(len(near), dtype=torch.int64), torch.zeros(len(near), 4)
    overlap = overlaps(corners(near), truths[:, 1:])
    best, which = overlap.max(1)
    own = overlap.argmax(0)
    best[own], which[own] = 1.0, torch.arange(len(truths))
    return torch.where(best >= MATCH, truths[which, 0].long(), 0), truths[which, 1:]


def suppressed(boxes: Tensor, scores: Tensor, limit: float) -> Tensor:
    """Places of boxes, best first, none of which overlaps a better one by more than the limit."""
    order = scores.argsort(descending=True, stable=True)
    overlap = overlaps(boxes[order], boxes[order]) > limit
    kept: list[int] = []
    gone = torch.zeros(len(order), dtype=torch.bool)
    for place in range(len(order)):
        if not gone[place]:
            kept.append(place)
            gone |= overlap[place]
    return order[kept]
