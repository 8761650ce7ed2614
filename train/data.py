"""Data sets as tensors, with the integer format that their pixels already have."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class InputFormat:
    """What a network is fed with.

    Parameters
    ----------
    shape
        (channels, height, width), or (features,).
    bits, signed
        Integer format of the input.
    scale
        Real value of one LSB; ``None`` leaves it to calibration.
    """

    shape: tuple[int, ...]
    bits: int = 8
    signed: bool = False
    scale: float | None = None

    def __post_init__(self) -> None:
        if len(self.shape) not in (1, 3) or min(self.shape) < 1:
            raise ValueError(f"Input shape must be (channels, height, width) or (features,), not {self.shape!r}")


@dataclass(frozen=True)
class DataSet:
    """Images and labels, split once and for all.

    Parameters
    ----------
    name
        As on the command line.
    train_x, test_x : float32, shape (images, channels, height, width)
        ``integer * input.scale``.
    train_y, test_y : int64, shape (images,)
        Labels.
    input
        Shape and format of an image.
    classes
        Number of labels.
    """

    name: str
    train_x: Tensor
    train_y: Tensor
    test_x: Tensor
    test_y: Tensor
    input: InputFormat
    classes: int

    @property
    def test_integers(self) -> Tensor:
        """Held-out images as the integers that the machine takes, int64."""
        if self.input.scale is None:
            raise ValueError(f"Data {self.name!r} must have a fixed input scale, not None")
        return torch.round(self.test_x.double() / self.input.scale).long()


def digits() -> DataSet:
    """Scikit-learn's 1,797 handwritten digits, 8x8 pixels of 0 to 16; a stratified third (599) is held out.

    The split depends on nothing but the data: within each label every third image is held out, from a fixed shuffle.
    """
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = torch.tensor(bunch.images, dtype=torch.float32).unsqueeze(1) / 16
    labels = torch.tensor(bunch.target, dtype=torch.int64)
    order = np.random.default_rng(0).permutation(len(labels))
    order = order[np.argsort(bunch.target[order], kind="stable")]
    held_out = np.zeros(len(labels), dtype=bool)
    held_out[order[::3]] = True
    train, test = torch.tensor(np.flatnonzero(~held_out)), torch.tensor(np.flatnonzero(held_out))
    return DataSet(
        name="digits",
        train_x=images[train],
        train_y=labels[train],
        test_x=images[test],
        test_y=labels[test],
        input=InputFormat((1, 8, 8), bits=8, signed=False, scale=1 / 16),
        classes=10,
    )


#: Data sets by name.
DATA: dict[str, Callable[[], DataSet]] = {"digits": digits}


def load_data(name: str) -> DataSet:
    """Data set of that name.

    Raises
    ------
    ValueError
        If there is no such data set.
    """
    if name not in DATA:
        raise ValueError(f"Data must be one of {tuple(DATA)}, not {name!r}")
    return DATA[name]()


def shift_images(images: Tensor, generator: torch.Generator, pixels: int) -> Tensor:
    """Each image moved by up to `pixels` up, down, left and right, zeros moving in."""
    height, width = images.shape[-2:]
    padded = torch.nn.functional.pad(images, (pixels,) * 4)
    moves = torch.randint(0, 2 * pixels + 1, (len(images), 2), generator=generator)
    rows = moves[:, :1] + torch.arange(height)
    columns = moves[:, 1:] + torch.arange(width)
    index = torch.arange(len(images))[:, None, None]
    return padded.permute(0, 2, 3, 1)[index, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).contiguous()
