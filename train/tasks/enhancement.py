"""A better image out of a worse one; targets are 8-bit pixels, outputs are real numbers, 0 to 1."""

from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from twofold.train.data.base import DataSet
from twofold.train.tasks.base import Meter, NetworkTask, library, only


class Enhancement(NetworkTask):
    """Mean absolute error; signal-to-noise ratio (dB) and structural similarity, means of the images'."""

    name = "enhancement"
    networks = ("see_in_the_dark_small", "see_in_the_dark")
    data = "camvid_dark"

    def loss(self, outputs: Any, targets: Tensor) -> Tensor:
        return F.l1_loss(_image(outputs, targets), targets.float() / 255)

    def distilled(self, outputs: Any, wanted: Any) -> Tensor:
        return F.l1_loss(outputs, wanted)

    def answers(self, outputs: Any) -> Sequence[Tensor]:
        """Images, 0 to 1, shape (C, H, W)."""
        return list(outputs.clamp(0, 1))

    def truths(self, targets: Tensor) -> Sequence[Tensor]:
        return list(targets.float() / 255)

    def meter(self, data: DataSet) -> Meter:
        return Likeness()


def _image(outputs: Any, targets: Tensor) -> Tensor:
    return only(outputs, targets.shape[1], tuple(targets.shape[2:]))


class Likeness:
    """Means over the images, outputs clipped to 0 and 1."""

    def __init__(self) -> None:
        metrics = library("torchmetrics.image", "enhancement")
        self.noise = metrics.PeakSignalNoiseRatio(data_range=1.0, dim=(1, 2, 3))
        self.structure = metrics.StructuralSimilarityIndexMeasure(data_range=1.0)

    def update(self, outputs: Any, targets: Tensor) -> None:
        image, wanted = _image(outputs, targets).clamp(0, 1), targets.float() / 255
        self.noise.update(image, wanted)
        self.structure.update(image, wanted)

    def scores(self) -> dict[str, float]:
        return {"psnr": float(self.noise.compute()), "ssim": float(self.structure.compute())}
