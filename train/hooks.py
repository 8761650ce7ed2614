"""What a training loop does for the quantizers, in one context manager for any loop; `train.loop` uses its parts."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn

from twofold.train.layers import QuantModel

#: Learning rate of training aids: that of the shipped recipes.
AID_LR = 0.2


class QuantTraining:
    """A training of a calibrated model under way.

    Leaving the ``with`` block ends it as every training ends: aids go, scales stand still, kept batch norms are folded.
    An exception leaves the model as it is.

    Parameters
    ----------
    model
        Calibrated (`train.convert.calibrate`).
    steps
        Optimizer steps in all.
    epochs
        Epochs in all: some schedules move once an epoch.
    settle
        Last part of the steps, in which aids are gone and scales stand still.
    aid_lr
        Learning rate of training aids (STLQ's auxiliary values).

    Raises
    ------
    ValueError
        If the model has not been calibrated, or a number is impossible.

    Examples
    --------
    ::

        with QuantTraining(model, steps=epochs * len(loader), epochs=epochs) as training:
            optimizer = torch.optim.Adam(training.groups(weight_decay=1e-4), lr=1e-3)
            for images, labels in batches:
                with training.step(optimizer):
                    (F.cross_entropy(model(images), labels) + training.penalty()).backward()
    """

    def __init__(self, model: QuantModel, *, steps: int, epochs: int = 1, settle: float = 0.0, aid_lr: float = AID_LR):
        if not model.calibrated:
            raise ValueError(f"Network {model.name!r} must be calibrated before it is trained, not just converted")
        if steps < 1 or not 1 <= epochs <= steps:
            raise ValueError(f"Steps must be 1 or more and epochs 1 to as many, not {steps!r} and {epochs!r}")
        if not 0 <= settle < 1:
            raise ValueError(f"Part that settles must be 0 to below 1, not {settle!r}")
        self.model, self.steps, self.epochs = model, steps, epochs
        self.settled = steps - round(settle * steps)
        self.done = 0
        self.trained = Trained(model)
        self.aids = [torch.optim.SGD(self.trained.aids, aid_lr)] if self.trained.aids else []

    def __enter__(self) -> "QuantTraining":
        self.model.begin()
        require_gradients(self.model)
        self.model.train()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            settle(self.model)
            self.model.fold()
            self.model.eval()

    def groups(self, *, weight_decay: float = 0.0) -> list[dict[str, Any]]:
        """Parameter groups for an optimizer: weights, and what does not decay. Aids have their own, within `step`."""
        return self.trained.groups(weight_decay)

    def penalty(self) -> Tensor:
        """Sum of the quantizers' own losses, to be added to the loss."""
        return self.model.penalty()

    @contextmanager
    def step(self, *optimizers: torch.optim.Optimizer) -> Iterator[None]:
        """One step: the loss's gradients are computed inside; then the optimizers move."""
        if self.done == self.steps:
            raise ValueError(f"Training must take the {self.steps} steps that it was made for, not more")
        if self.done == self.settled:
            settle(self.model)
        self.model.on_step(self.done, self.steps, self.done * self.epochs // self.steps)
        yield
        for optimizer in (*optimizers, *self.aids):
            optimizer.step()
            optimizer.zero_grad()
        self.model.after_step()
        self.done += 1


class Trained:
    """What training moves, by how: weights (with what decays like them), scales and so on, aids."""

    def __init__(self, model: nn.Module):
        quantizers = model.quantizers() if isinstance(model, QuantModel) else []
        decayed = [p for quantizer in quantizers if quantizer.decayed for p in quantizer.trained()]
        special = {id(p) for quantizer in quantizers for p in quantizer.parameters()}
        special |= {id(p) for p in model.bases} if isinstance(model, QuantModel) else set()
        self.weights = [p for p in model.parameters() if id(p) not in special] + decayed
        # Tied quantizers have one parameter in common.
        self.scales = list(dict.fromkeys(p for q in quantizers if not q.decayed for p in q.trained()))
        self.aids = [p for quantizer in quantizers for p in quantizer.aids()]

    def groups(self, weight_decay: float) -> list[dict[str, Any]]:
        """Parameter groups of weights and scales."""
        groups: list[dict[str, Any]] = [{"params": self.weights, "weight_decay": weight_decay}]
        if self.scales:
            groups.append({"params": self.scales, "weight_decay": 0.0})
        return groups


def require_gradients(model: QuantModel) -> None:
    """Have gradients for what quantizers train."""
    for quantizer in model.quantizers():
        for parameter in (*quantizer.trained(), *quantizer.aids()):
            parameter.requires_grad_(True)


def settle(model: QuantModel) -> None:
    """Training aids go, scales stand still. Doing it again changes nothing."""
    model.finish()
    for quantizer in model.quantizers():
        for parameter in (*quantizer.trained(), *quantizer.aids()):
            parameter.requires_grad_(False)
