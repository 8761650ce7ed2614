"""Things in boxes: SSD's loss, and COCO's average precision.

Source: [SSD], sections 2.2 and 3; [COCO].
"""

import io
from collections.abc import Sequence
from contextlib import redirect_stdout
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from twofold.train.data.augment import Augment
from twofold.train.data.base import DataSet
from twofold.train.tasks.base import Meter, NetworkTask, library
from twofold.train.tasks.boxes import anchors, decoded, encoded, matched, shapes, suppressed

#: Boxes of nothing that count, for each that stands for something: those that look most like something.
NEGATIVES = 3
#: Least score of what is found, how many of a class are looked at, how far they may overlap, and how many are kept.
SCORE, LOOKED, OVERLAP, KEPT = 0.05, 100, 0.45, 100
#: Least score of what pictures show.
SHOWN = 0.3


class Detection(NetworkTask):
    """Cross-entropy of the boxes' classes, smooth absolute error of their offsets; average precision."""

    name = "detection"
    networks = ("ssd_lite_small", "ssd_lite")
    data = "bccd"

    def loss(self, outputs: Any, targets: Tensor) -> Tensor:
        scores, offsets, near = read_maps(outputs)
        pairs = [matched(one, near) for one in targets.cpu()]
        classes = torch.stack([one for one, _ in pairs]).to(scores.device)
        wanted = torch.stack([encoded(box, near) for _, box in pairs]).to(scores.device)
        there = classes > 0
        place = F.smooth_l1_loss(offsets[there], wanted[there], reduction="sum")
        costs = F.cross_entropy(scores.transpose(1, 2), classes, reduction="none")
        nothing = costs.detach().masked_fill(there, -1.0)
        rank = nothing.argsort(1, descending=True).argsort(1)
        hard = (rank < NEGATIVES * there.sum(1, keepdim=True).clamp(min=1)) & ~there
        return (place + costs[there].sum() + costs[hard].sum()) / there.sum().clamp(min=1)

    def distilled(self, outputs: Any, wanted: Any) -> Tensor:
        (scores, offsets, _), (theirs, places, _) = read_maps(outputs), read_maps(wanted)
        classes = F.cross_entropy(scores.flatten(0, 1), theirs.softmax(2).flatten(0, 1))
        return classes + F.smooth_l1_loss(offsets, places)

    def augmented(
        self, augment: Augment, images: Tensor, targets: Tensor, generator: torch.Generator, count: int, part: slice
    ) -> tuple[Tensor, Tensor]:
        """Mirrors only."""
        if not augment.flip:
            return images, targets
        heads = torch.rand(count, generator=generator)[part] < 0.5
        there = targets[..., :1] > 0
        mirrored = torch.cat((targets[..., :1], (1 - targets[..., [3]]), targets[..., [2]], 1 - targets[..., [1]]), -1)
        mirrored = torch.cat((mirrored, targets[..., [4]]), -1) * there
        images = torch.where(heads.view(-1, 1, 1, 1), images.flip(-1), images)
        return images, torch.where(heads.view(-1, 1, 1), mirrored, targets)

    def answers(self, outputs: Any) -> Sequence[Tensor]:
        """Class, corners and score of each thing, shape (things, 6)."""
        return [found[found[:, 5] >= SHOWN] for found in things(outputs)]

    def truths(self, targets: Tensor) -> Sequence[Tensor]:
        return [F.pad(one[one[:, 0] > 0], (0, 1), value=1.0) for one in targets]

    def meter(self, data: DataSet) -> Meter:
        return Precision(data)


def read_maps(outputs: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Scores (B, boxes, classes) and offsets (B, boxes, 4) out of the maps, and the boxes (`anchors`).

    Raises
    ------
    ValueError
        If they are no such maps.
    """
    if not (isinstance(outputs, (tuple, list)) and len(outputs) == 2 and len(outputs[0]) == len(outputs[1]) > 0):
        raise ValueError("Network must give a list of maps of scores and one of offsets, not something else")
    kinds = shapes(len(outputs[0]))
    flat: list[Tensor] = []
    for maps in outputs:
        parts = []
        for one, boxes in zip(maps, kinds, strict=True):
            if one.shape[1] % len(boxes):
                raise ValueError(f"Network must give maps of {len(boxes)} boxes, not {one.shape[1]} channels")
            values = one.shape[1] // len(boxes)
            split = one.unflatten(1, (len(boxes), values)).permute(0, 3, 4, 1, 2)
            parts.append(split.reshape(len(one), -1, values))
        flat.append(torch.cat(parts, 1))
    return flat[0], flat[1], anchors([(one.shape[2], one.shape[3]) for one in outputs[0]]).to(flat[0].device)


def things(outputs: Any) -> list[Tensor]:
    """Class, corners and score of what is found in each image, best first, shape (things, 6)."""
    scores, offsets, near = read_maps(outputs)
    return [_found(*pair) for pair in zip(scores.softmax(2), decoded(offsets, near).clamp(0, 1), strict=True)]


def _found(scores: Tensor, boxes: Tensor) -> Tensor:
    rows = [torch.zeros(0, 6)]
    for label in range(1, scores.shape[1]):
        here = (scores[:, label] > SCORE).nonzero()[:, 0]
        here = here[scores[here, label].argsort(descending=True)[:LOOKED]]
        here = here[suppressed(boxes[here], scores[here, label], OVERLAP)]
        labels = torch.full((len(here), 1), float(label))
        rows.append(torch.cat((labels, boxes[here], scores[here, label, None]), 1))
    found = torch.cat(rows)
    return found[found[:, 5].argsort(descending=True)[:KEPT]]


class Precision:
    """COCO's average precision over all images and classes: at an overlap of 0.5, and the mean of 0.5 to 0.95."""

    def __init__(self, data: DataSet):
        self.coco, self.evaluation = (library(f"pycocotools.{name}", "detection") for name in ("coco", "cocoeval"))
        self.height, self.width = data.input.shape[1:]
        self.classes = range(1, data.classes)
        self.images = 0
        self.truths: list[dict[str, Any]] = []
        self.found: list[list[float]] = []

    def update(self, outputs: Any, targets: Tensor) -> None:
        for found, truths in zip(things(outputs), targets, strict=True):
            self.images += 1
            for row in truths[truths[:, 0] > 0].tolist():
                box = self._box(row)
                one = {"id": len(self.truths) + 1, "image_id": self.images, "category_id": int(row[0]), "iscrowd": 0}
                self.truths.append(one | {"bbox": box, "area": box[2] * box[3]})
            self.found += [[self.images, *self._box(row), row[5], row[0]] for row in found.tolist()]

    def _box(self, row: list[float]) -> list[float]:
        """Left, top, width and height in pixels."""
        left, top, right, bottom = row[1:5]
        return [left * self.width, top * self.height, (right - left) * self.width, (bottom - top) * self.height]

    def scores(self) -> dict[str, float]:
        if not self.found:
            return {"ap50": 0.0, "ap": 0.0}
        with redirect_stdout(io.StringIO()):
            truth = self.coco.COCO()
            truth.dataset = {
                "info": {},
                "images": [{"id": n, "height": self.height, "width": self.width} for n in range(1, self.images + 1)],
                "annotations": self.truths,
                "categories": [{"id": n} for n in self.classes],
            }
            truth.createIndex()
            found = truth.loadRes(np.array(self.found))
            evaluation = self.evaluation.COCOeval(truth, found, "bbox")
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
        return {"ap50": float(evaluation.stats[1]), "ap": float(evaluation.stats[0])}
