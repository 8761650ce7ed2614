"""The training loop, float and quantization-aware, on one page."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from rich.progress import Progress
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from twofold.support.digests import digest
from twofold.train.checkpoint import LoopState, load_state, save_state
from twofold.train.data import DataSet, Images, InputFormat, check_images
from twofold.train.distributed import ALONE, World, shared_norms
from twofold.train.evaluation import evaluate
from twofold.train.hooks import Trained, require_gradients, settle
from twofold.train.layers import QuantModel
from twofold.train.quantizers import ActivationQuantizer
from twofold.train.recipe import TrainSettings
from twofold.train.report import Report, json_lines
from twofold.train.schedule import rate
from twofold.train.tasks import TASKS

__all__ = ["FitOptions", "Report", "accuracy", "fit", "json_lines", "predict"]


@dataclass(frozen=True)
class FitOptions:
    """Where and how a training runs. The result depends on it in the rounding of floating-point numbers at most.

    Parameters
    ----------
    device
        As `torch.device` takes it.
    bf16
        Compute in bfloat16 where PyTorch thinks it safe (`torch.autocast`); weights stay float32.
    compile
        Backend of `torch.compile`, such as ``inductor``; empty: not compiled.
    state
        File for the state of the training, written after each epoch; ``None``: none.
    every
        Write it after so many steps, too (0: never).
    resume
        Begin with what the file holds.
    facts
        What the training is besides its settings; a state with other facts is refused.
    metrics
        File that the report writes its lines to: a state says which it goes with. ``None``: none.
    evaluate
        Report the task's metrics on the held-out images every so many epochs (0: never).
    world
        The processes that train together.
    """

    device: str = "cpu"
    bf16: bool = False
    compile: str = ""
    state: Path | None = None
    every: int = 0
    resume: bool = False
    facts: dict[str, Any] = field(default_factory=dict)
    metrics: Path | None = None
    evaluate: int = 0
    world: World = ALONE


def fit(
    model: nn.Module,
    data: DataSet,
    settings: TrainSettings,
    *,
    teacher: nn.Module | None = None,
    report: Report | None = None,
    progress: Progress | None = None,
    title: str = "training",
    options: FitOptions | None = None,
) -> None:
    """Train in place; deterministic for a seed, a machine and a number of threads, interrupted or not.

    A `QuantModel` is trained quantized: its penalty joins the loss, auxiliary values have their own learning rate, and
    in the last part of the training (`TrainSettings.settle`) they are gone and the scales stand still. With a teacher,
    a part `TrainSettings.distill` of the loss is that against what it gives (`train.tasks`).
    """
    options = options or FitOptions()
    model.to(options.device)
    try:
        with shared_norms(model, options.world):
            Training(model, data, settings, teacher, options).run(report, progress, title)
    finally:
        model.cpu()
    model.eval()


class Training:
    """A training under way; `fit` makes one and runs it."""

    def __init__(
        self,
        model: nn.Module,
        data: DataSet,
        settings: TrainSettings,
        teacher: nn.Module | None = None,
        options: FitOptions | None = None,
    ):
        options = options or FitOptions()
        check_images(data.train_x, model.input_format if isinstance(model, QuantModel) else data.input)
        self.model, self.data, self.settings, self.options = model, data, settings, options
        self.quantized = model if isinstance(model, QuantModel) else None
        self.task = TASKS[data.task]
        self.augment = data.augment if settings.augment else None
        self.teacher = teacher.to(options.device).eval() if teacher is not None and settings.distill else None
        # What the teacher gives for images that do not change is computed once, where it is small.
        still = self.teacher is not None and not self.augment and data.task == "classification"
        self.guide = predict(self.teacher, data.train_x) if self.teacher and still else None
        self.batch = min(settings.batch, len(data.train_x) // options.world.size * options.world.size)
        self.part = options.world.part(self.batch)
        self.steps = len(data.train_x) // self.batch  # a last batch that is not full is left out
        self.steps = min(self.steps, settings.steps or self.steps)
        self.optimizers = _optimizers(model, settings)
        self.generator = torch.Generator().manual_seed(settings.seed)
        self.facts = options.facts | {"settings": asdict(settings), "processes": options.world.size}
        self.reached = LoopState()
        if self.quantized:
            self.quantized.begin()
        if options.resume and options.state:
            self.reached = load_state(options.state, model, self.optimizers, self.generator, self.facts)
        self.forward = torch.compile(model, backend=options.compile) if options.compile else model

    def run(self, report: Report | None, progress: Progress | None, title: str) -> None:
        settings, reached, world = self.settings, self.reached, self.options.world
        done = reached.epoch * self.steps + reached.step
        task = progress.add_task(title, total=settings.epochs * self.steps, completed=done) if progress else None
        settled = settings.epochs - round(settings.settle * settings.epochs)
        while reached.epoch < settings.epochs:
            self.model.train()
            if self.quantized and reached.epoch == settled and not reached.step:
                settle(self.quantized)
            order = self._order()
            while reached.step < self.steps:
                loss, right = self.step(order[reached.step * self.batch : (reached.step + 1) * self.batch])
                reached.step, reached.loss, reached.right = reached.step + 1, reached.loss + loss, reached.right + right
                if self.options.every and reached.step % self.options.every == 0 and reached.step < self.steps:
                    self._save()
                if progress and task is not None:
                    progress.advance(task)
            reached.epoch, reached.step = reached.epoch + 1, 0
            check_trained(self.model, reached.epoch)
            sums = world.add(torch.tensor([reached.loss / world.size, reached.right], dtype=torch.float64))
            reached.loss = reached.right = 0.0
            if report:
                report(self._metrics(*(sums / self.steps).tolist()))
            self._save()
        if self.quantized:
            settle(self.quantized)

    def _order(self) -> Tensor:
        """Order of the images in this epoch; of the one that was interrupted, if it was."""
        now = self.generator.get_state()
        if self.reached.step:
            self.generator.set_state(self.reached.start)
        self.reached.start = self.generator.get_state()
        order = torch.randperm(len(self.data.train_x), generator=self.generator)
        if self.reached.step:
            self.generator.set_state(now)
        return order

    def step(self, batch: Tensor) -> tuple[float, float]:
        """One step; loss, and images that are right, of this process's part of the batch."""
        settings, world, device = self.settings, self.options.world, self.options.device
        number, steps = self.reached.epoch * self.steps + self.reached.step, settings.epochs * self.steps
        for group in self.optimizers[0].param_groups:
            group["lr"] = rate(settings, number, steps, settings.epochs)
        if self.quantized:
            self.quantized.on_step(number, steps, self.reached.epoch)
        images, targets = self.data.train_x[batch[self.part]], self.data.train_y[batch[self.part]]
        if self.augment:
            images, targets = self.task.augmented(self.augment, images, targets, self.generator, self.batch, self.part)
        images, targets = images.to(device), targets.to(device)
        with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=self.options.bf16):
            outputs = tree_map(lambda leaf: leaf.float(), self.forward(images))
        loss = self.task.loss(outputs, targets)
        if self.teacher is not None:
            with torch.no_grad():
                wanted = self.teacher(images) if self.guide is None else self.guide[batch[self.part]].to(device)
            loss = (1 - settings.distill) * loss + settings.distill * self.task.distilled(outputs, wanted)
        (loss + settings.penalty * self.quantized.penalty() if self.quantized else loss).backward()
        world.average(p.grad for p in self.model.parameters() if p.grad is not None)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad()
        if self.quantized:
            self.quantized.after_step()
            world.average(_statistics(self.quantized))
        if not loss.isfinite():
            raise ValueError(
                f"Training must keep a finite loss, not {loss.item()} in epoch {self.reached.epoch + 1}: "
                f"take a smaller learning rate than {settings.lr:g}"
            )
        return loss.item(), self.task.right(outputs, targets)

    def _metrics(self, loss: float, right: float) -> dict[str, float]:
        metrics: dict[str, float] = {"epoch": self.reached.epoch, "loss": loss}
        if self.task.counts:
            metrics["train_accuracy"] = right / self.batch
        if self.options.evaluate and self.reached.epoch % self.options.evaluate == 0:
            metrics |= evaluate(self.model, self.data)
        return metrics | (self.quantized.metrics() if self.quantized else {})

    def _save(self) -> None:
        if self.options.state and self.options.world.first:
            lines = self.options.metrics
            reported = digest(lines.read_bytes()) if lines and lines.exists() else ""
            save_state(
                self.options.state, self.model, self.optimizers, self.generator, self.reached, self.facts, reported
            )


def check_trained(model: nn.Module, epoch: int) -> None:
    """Refuse parameters that are NaN or infinite, by their names, after so many epochs."""
    for name, parameter in model.named_parameters():
        if not parameter.isfinite().all():
            wrong = float(parameter[~parameter.isfinite()].flatten()[0])
            raise ValueError(f"Training must keep {name!r} finite, not {wrong} after epoch {epoch}")


@torch.no_grad()
def predict(model: nn.Module, images: Tensor | Images, *, batch: int = 256, input: InputFormat | None = None) -> Tensor:
    """Outputs for all images, on the CPU.

    Raises
    ------
    ValueError
        If there are none, or they are not what the model takes: a `QuantModel`'s own format, else `input`.
    """
    check_images(images, model.input_format if isinstance(model, QuantModel) else input)
    model.eval()
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    return torch.cat([model(images[n : n + batch].to(device)).cpu() for n in range(0, len(images), batch)])


def accuracy(
    model: nn.Module,
    images: Tensor | Images,
    labels: Tensor,
    *,
    batch: int = 256,
    input: InputFormat | None = None,
) -> float:
    """Part of the images that the model labels rightly; `predict` says which it refuses."""
    return int((predict(model, images, batch=batch, input=input).argmax(1) == labels).sum()) / len(images)


def _statistics(model: QuantModel) -> list[Tensor]:
    """What quantizers keep of the batches that they have seen, besides what the optimizers train."""
    tensors = []
    for quantizer in model.quantizers():
        tensors += [b for b in quantizer.buffers() if b.is_floating_point()]
        # A tied scale follows its base, which is the same in all processes.
        if not (isinstance(quantizer, ActivationQuantizer) and quantizer.stream):
            tensors += [p.detach() for p in quantizer.parameters() if not p.requires_grad]
    return tensors


def _optimizers(model: nn.Module, settings: TrainSettings) -> list[torch.optim.Optimizer]:
    """Weights and biases first; then what quantizers train, decayed or not; then training aids."""
    trained = Trained(model)
    if isinstance(model, QuantModel):
        require_gradients(model)
    groups, optimizers = trained.groups(settings.weight_decay), list[torch.optim.Optimizer]()
    if settings.optimizer == "sgd":
        optimizers.append(torch.optim.SGD(groups, settings.lr, momentum=settings.momentum))
    else:
        optimizers.append(torch.optim.Adam(groups, settings.lr))
    if trained.aids:
        optimizers.append(torch.optim.SGD(trained.aids, settings.v_lr))
    return optimizers
