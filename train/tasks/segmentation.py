"""A class at every pixel; pixels of class `VOID` count for nothing."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from twofold.train.data.augment import Augment
from twofold.train.data.base import DataSet
from twofold.train.tasks.base import Meter, NetworkTask, library, only

#: Label of pixels that belong to no class.
VOID = 255


class Segmentation(NetworkTask):
    """Cross-entropy of the labelled pixels; mean intersection over union of the classes."""

    name = "segmentation"
    networks = ("deeplab_v3plus_small", "deeplab_v3plus")
    data = "camvid"
    counts = True

    def loss(self, outputs: Any, targets: Tensor) -> Tensor:
        scores = only(outputs, None, tuple(targets.shape[1:]))
        total = F.cross_entropy(scores, targets.long(), ignore_index=VOID, reduction="sum")
        return total / (targets != VOID).sum().clamp(min=1)

    def distilled(self, outputs: Any, wanted: Any) -> Tensor:
        return F.cross_entropy(outputs, wanted.softmax(1))

    def right(self, outputs: Any, targets: Tensor) -> float:
        hits = (outputs.argmax(1) == targets).flatten(1).sum(1)
        return float((hits / (targets != VOID).flatten(1).sum(1).clamp(min=1)).sum())

    def augmented(
        self, augment: Augment, images: Tensor, targets: Tensor, generator: torch.Generator, count: int, part: slice
    ) -> tuple[Tensor, Tensor]:
        # One more channel, in which what moves in, 0, is what belongs to no class.
        joined = torch.cat((images, (targets.float() - VOID)[:, None]), 1)
        joined = augment(joined, generator, count=count, part=part)
        return joined[:, :-1].contiguous(), (joined[:, -1] + VOID).to(targets.dtype)

    def answers(self, outputs: Any) -> Sequence[Tensor]:
        """Classes, shape (H, W)."""
        return list(outputs.argmax(1))

    def truths(self, targets: Tensor) -> Sequence[Tensor]:
        return list(targets)

    def meter(self, data: DataSet) -> Meter:
        return Overlap(data.classes)


class Overlap:
    """Intersection over union of each class over all images, and the part of the pixels that are right."""

    def __init__(self, classes: int):
        metrics = library("torchmetrics.classification", "segmentation")
        self.classes = classes
        self.union = metrics.MulticlassJaccardIndex(classes, ignore_index=VOID)
        self.pixels = metrics.MulticlassAccuracy(classes, average="micro", ignore_index=VOID)

    def update(self, outputs: Any, targets: Tensor) -> None:
        found = only(outputs, self.classes, tuple(targets.shape[1:])).argmax(1)
        self.union.update(found, targets.long())
        self.pixels.update(found, targets.long())

    def scores(self) -> dict[str, float]:
        return {"miou": float(self.union.compute()), "pixel_accuracy": float(self.pixels.compute())}
