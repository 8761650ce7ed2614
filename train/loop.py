"""The training loop, float and quantization-aware, on one page."""

import json
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from rich.progress import Progress
from torch import Tensor, nn

from train.data import DataSet, Images
from train.layers import QuantModel
from train.recipe import TrainRule

#: Called after each epoch with what happened in it.
Report = Callable[[dict[str, float]], None]


def fit(
    model: nn.Module,
    data: DataSet,
    settings: TrainRule,
    *,
    teacher: nn.Module | None = None,
    report: Report | None = None,
    progress: Progress | None = None,
    title: str = "training",
) -> None:
    """Train in place; deterministic for a seed, a machine and a number of threads.

    A `QuantModel` is trained quantized: its penalty joins the loss, auxiliary values have their own learning rate, and
    in the last part of the training (`TrainRule.settle`) they are gone and the scales stand still. With a teacher, a
    part `TrainRule.distill` of the loss is the cross-entropy to its soft labels.
    """
    guide = None
    if teacher is not None and settings.distill:
        teacher.eval()
        with torch.no_grad():
            guide = predict(teacher, data.train_x).softmax(1)
    quantized = model if isinstance(model, QuantModel) else None
    optimizers = _optimizers(model, settings)
    steps = max(1, len(data.train_x) // settings.batch)
    schedules = [torch.optim.lr_scheduler.CosineAnnealingLR(optimizers[0], settings.epochs * steps)]
    generator = torch.Generator().manual_seed(settings.seed)
    task = progress.add_task(title, total=settings.epochs) if progress else None
    settled = settings.epochs - round(settings.settle * settings.epochs)
    if quantized:
        quantized.begin()
    for epoch in range(settings.epochs):
        # A quantized model has no batch statistics left: there the mode makes no difference.
        model.train()
        if quantized and epoch == settled:
            settle(quantized)
        order = torch.randperm(len(data.train_x), generator=generator)
        total = right = 0.0
        for step in range(steps):
            batch = order[step * settings.batch : (step + 1) * settings.batch]
            if quantized:
                quantized.on_step(epoch * steps + step, settings.epochs * steps, epoch)
            logits = model(data.train_x[batch])
            loss = F.cross_entropy(logits, data.train_y[batch])
            if guide is not None:
                loss = (1 - settings.distill) * loss + settings.distill * F.cross_entropy(logits, guide[batch])
            (loss + settings.penalty * quantized.penalty() if quantized else loss).backward()
            for optimizer in optimizers:
                optimizer.step()
                optimizer.zero_grad()
            for schedule in schedules:
                schedule.step()
            if quantized:
                quantized.after_step()
            total += loss.item()
            right += int((logits.argmax(1) == data.train_y[batch]).sum())
        if report:
            accuracy = right / (steps * settings.batch)
            extra = quantized.metrics() if quantized else {}
            report({"epoch": epoch + 1, "loss": total / steps, "train_accuracy": accuracy} | extra)
        if progress and task is not None:
            progress.advance(task)
    if quantized:
        settle(quantized)
    model.eval()


def settle(model: QuantModel) -> None:
    """Training aids go, scales stand still. Doing it again changes nothing."""
    model.finish()
    for quantizer in model.quantizers():
        for parameter in (*quantizer.trained(), *quantizer.aids()):
            parameter.requires_grad_(False)


@torch.no_grad()
def predict(model: nn.Module, images: Tensor | Images, *, batch: int = 256) -> Tensor:
    """Outputs for all images."""
    model.eval()
    return torch.cat([model(images[n : n + batch]) for n in range(0, len(images), batch)])


def accuracy(model: nn.Module, images: Tensor | Images, labels: Tensor, *, batch: int = 256) -> float:
    """Part of the images that the model labels rightly."""
    return int((predict(model, images, batch=batch).argmax(1) == labels).sum()) / len(images)


def json_lines(path: Path) -> Report:
    """Report that appends one JSON object a line to a file, begun afresh."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("", encoding="utf-8")

    def report(metrics: dict[str, float]) -> None:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(metrics) + "\n")

    return report


def _optimizers(model: nn.Module, settings: TrainRule) -> list[torch.optim.Optimizer]:
    """Weights and biases first; then what quantizers train, decayed or not; then training aids."""
    decayed: list[nn.Parameter] = []
    scales: list[nn.Parameter] = []
    aids: list[nn.Parameter] = []
    special: set[int] = set()
    if isinstance(model, QuantModel):
        for quantizer in model.quantizers():
            (decayed if quantizer.decayed else scales).extend(quantizer.trained())
            aids.extend(quantizer.aids())
            special |= {id(parameter) for parameter in quantizer.parameters()}
        for parameter in (*decayed, *scales, *aids):
            parameter.requires_grad_(True)
    weights = [p for p in model.parameters() if id(p) not in special]
    groups = [{"params": weights + decayed, "weight_decay": settings.weight_decay}]
    if scales:
        groups.append({"params": scales, "weight_decay": 0.0})
    optimizers: list[torch.optim.Optimizer]
    if settings.optimizer == "sgd":
        optimizers = [torch.optim.SGD(groups, settings.lr, momentum=0.9)]
    else:
        optimizers = [torch.optim.Adam(groups, settings.lr)]
    if aids:
        optimizers.append(torch.optim.SGD(aids, settings.v_lr))
    return optimizers
