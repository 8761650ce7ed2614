"""What a task is: its loss, how images and targets are changed together, and the field's metrics of what it reaches."""

from collections.abc import Sequence
from importlib import import_module
from typing import Any, Protocol

import torch
from torch import Tensor

from twofold.train.data.augment import Augment
from twofold.train.data.base import DataSet
from twofold.train.outputs import flattened


class Meter(Protocol):
    """Takes outputs and targets of one batch after another."""

    def update(self, outputs: Any, targets: Tensor) -> None:
        """Outputs are the network's, on the CPU."""

    def scores(self) -> dict[str, float]:
        """Metrics of all batches by name, the task's own figure first."""


class NetworkTask:
    """A task by its name; subclasses say what it is.

    Attributes
    ----------
    name
        As on the command line.
    networks
        Names of networks that are made for it, the default first; none: all that are made for no other task.
    data
        Name of the data set, where none is given.
    batch
        Images of a batch of an evaluation.
    calibration
        Images that calibration looks at in quantization-aware training.
    counts
        Images can be right or wrong.
    """

    name = ""
    networks: tuple[str, ...] = ()
    data = ""
    batch = 16
    calibration = 64
    counts = False

    def loss(self, outputs: Any, targets: Tensor) -> Tensor:
        """Mean loss of a batch."""
        raise NotImplementedError

    def distilled(self, outputs: Any, wanted: Any) -> Tensor:
        """Mean loss of a batch against what another network gives for the same images."""
        raise NotImplementedError

    def right(self, outputs: Any, targets: Tensor) -> float:
        """Images that are right, parts of images counted; only of tasks that count."""
        return 0.0

    def augmented(
        self, augment: Augment, images: Tensor, targets: Tensor, generator: torch.Generator, count: int, part: slice
    ) -> tuple[Tensor, Tensor]:
        """Changed images and the targets that go with them: part `part` of a batch of `count`."""
        return augment(images, generator, count=count, part=part), targets

    def answers(self, outputs: Any) -> Sequence[Tensor]:
        """What each image of a batch is said to be, as pictures show it."""
        raise NotImplementedError

    def truths(self, targets: Tensor) -> Sequence[Tensor]:
        """What each is, in the same form."""
        raise NotImplementedError

    def meter(self, data: DataSet) -> Meter:
        """A new meter for the data set's held-out images."""
        raise NotImplementedError


def only(outputs: Any, channels: int | None, places: tuple[int, ...]) -> Tensor:
    """The network's only output, a map.

    Parameters
    ----------
    channels, places
        Wanted channels (``None``: any), and (height, width).

    Raises
    ------
    ValueError
        If there are several, or it has another shape.
    """
    leaves = flattened(outputs)[0]
    if len(leaves) != 1:
        raise ValueError(f"Network must give one output, not {len(leaves)}")
    found = tuple(leaves[0].shape[1:])
    wanted = (found[0] if channels is None else channels, *places)
    if found != wanted:
        raise ValueError(f"Network must give outputs of shape {wanted}, not {found}")
    return leaves[0]


def library(module: str, task: str) -> Any:
    """A module of the libraries that metrics are computed with.

    Raises
    ------
    ValueError
        If the library is not installed.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        name = module.partition(".")[0]
        raise ValueError(
            f"Task {task!r} must have the library {name} for its metrics: pip install 'twofold[tasks]'"
        ) from error
