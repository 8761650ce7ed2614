"""One label an image."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from twofold.train.data.base import DataSet
from twofold.train.tasks.base import Meter, NetworkTask


class Classification(NetworkTask):
    """Cross-entropy; the part of the images that get their label."""

    name = "classification"
    data = "digits"
    batch = 256
    calibration = 512
    counts = True

    def loss(self, outputs: Any, targets: Tensor) -> Tensor:
        return F.cross_entropy(outputs, targets)

    def distilled(self, outputs: Any, wanted: Any) -> Tensor:
        return F.cross_entropy(outputs, wanted.softmax(1))

    def right(self, outputs: Any, targets: Tensor) -> float:
        return int((outputs.argmax(1) == targets).sum())

    def meter(self, data: DataSet) -> Meter:
        return Labelled()


class Labelled:
    """Counts images that get their label."""

    def __init__(self) -> None:
        self.found, self.count = 0, 0

    def update(self, outputs: Any, targets: Tensor) -> None:
        self.found += int((torch.as_tensor(outputs).flatten(1).argmax(1) == targets).sum())
        self.count += len(targets)

    def scores(self) -> dict[str, float]:
        return {"accuracy": self.found / self.count}
