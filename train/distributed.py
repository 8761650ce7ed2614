"""Several processes that train one model: each takes its part of every batch, and gradients are averaged.

Started by ``torchrun``. Batch norm sees the whole batch, so that the result is that of one process with the same
global batch, but for the order in which floating-point numbers are added.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn

# Its functions' default arguments are the group at its import: imported later, it would keep the group, and gloo's
# threads, alive while Python ends, which may abort the process.
from torch.distributed.nn.functional import all_reduce


@dataclass(frozen=True)
class World:
    """The processes.

    Parameters
    ----------
    rank, size
        Number of this process, and how many there are.
    """

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that writes files."""
        return self.rank == 0

    def part(self, batch: int) -> slice:
        """This process's part of a batch.

        Raises
        ------
        ValueError
            If the batch cannot be shared out evenly.
        """
        if batch % self.size:
            raise ValueError(f"Batch must be a multiple of {self.size} (processes), not {batch!r}")
        count = batch // self.size
        return slice(self.rank * count, (self.rank + 1) * count)

    def add(self, tensor: Tensor) -> Tensor:
        """Sum over the processes, in place."""
        if self.size > 1:
            dist.all_reduce(tensor)
        return tensor

    def average(self, tensors: Iterable[Tensor]) -> None:
        """Means over the processes, in place; all in one message a type."""
        if self.size == 1:
            return
        kinds: dict[torch.dtype, list[Tensor]] = {}
        for tensor in tensors:
            kinds.setdefault(tensor.dtype, []).append(tensor)
        for group in kinds.values():
            flat = self.add(torch.cat([tensor.flatten() for tensor in group])) / self.size
            for tensor, mean in zip(group, flat.split([tensor.numel() for tensor in group]), strict=True):
                tensor.copy_(mean.view_as(tensor))

    def wait(self) -> None:
        """Until every process is here."""
        if self.size > 1:
            dist.barrier()


#: One process.
ALONE = World()


@contextmanager
def world(device: str) -> Iterator[World]:
    """The processes that torchrun has started, or one."""
    if "WORLD_SIZE" not in os.environ:
        yield ALONE
        return
    dist.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    try:
        yield World(dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()


class _SharedNorm(nn.BatchNorm2d):
    """Batch norm over the batches of all processes, which are equally large."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        size = dist.get_world_size()
        count = size * x[:, 0].numel()
        mean: Tensor = all_reduce(x.mean((0, 2, 3))) / size
        centred = x - mean.view(1, -1, 1, 1)
        variance: Tensor = all_reduce((centred**2).mean((0, 2, 3))) / size
        if self.track_running_stats and self.running_mean is not None and self.running_var is not None:
            with torch.no_grad():
                assert self.num_batches_tracked is not None
                self.num_batches_tracked += 1
                momentum = self.momentum
                share = 1 / float(self.num_batches_tracked) if momentum is None else momentum
                self.running_mean.lerp_(mean.to(self.running_mean), share)
                self.running_var.lerp_((variance * count / (count - 1)).to(self.running_var), share)
        y = centred * (variance + self.eps).rsqrt().view(1, -1, 1, 1)
        if self.weight is not None:
            y = y * self.weight.view(1, -1, 1, 1) + self.bias.view(1, -1, 1, 1)
        return y


@contextmanager
def shared_norms(model: nn.Module, here: World) -> Iterator[None]:
    """While it lasts, the model's batch norms see the batches of all processes."""
    norms = [m for m in model.modules() if type(m) is nn.BatchNorm2d] if here.size > 1 else []
    for norm in norms:
        norm.__class__ = _SharedNorm
    try:
        yield
    finally:
        for norm in norms:
            norm.__class__ = nn.BatchNorm2d
