"""What a network reaches on a data set's held-out images, in its task's metrics."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from twofold.golden.network import Network
from twofold.train import integer
from twofold.train.data import DataSet, check_images
from twofold.train.layers import QuantModel
from twofold.train.tasks import TASKS


@torch.no_grad()
def evaluate(model: nn.Module, data: DataSet) -> dict[str, float]:
    """Metrics by name, the task's own figure first.

    Raises
    ------
    ValueError
        If there are no images, they are not what the model takes, or its outputs are not what the task wants.
    """
    check_images(data.test_x, model.input_format if isinstance(model, QuantModel) else data.input)
    task = TASKS[data.task]
    meter, batch = task.meter(data), task.batch
    model.eval()
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    for n in range(0, len(data.test_x), batch):
        outputs = model(data.test_x[n : n + batch].to(device))
        meter.update(tree_map(lambda leaf: leaf.float().cpu(), outputs), data.test_y[n : n + batch])
    return meter.scores()


@torch.no_grad()
def evaluate_integers(model: QuantModel, network: Network, data: DataSet) -> dict[str, float]:
    """The same of an exported network in PyTorch's integer mode, whose integers are the golden model's.

    Parameters
    ----------
    model
        What it was exported from: it says what the outputs are returned in.
    network
        Its outputs' scales make integers the real numbers that the metrics take.
    """
    task = TASKS[data.task]
    meter, batch = task.meter(data), task.batch
    for n in range(0, len(data.test_x), batch):
        tensors = integer.run(network, data.integers(data.test_x[n : n + batch]))
        meter.update(real_outputs(model, network, tensors), data.test_y[n : n + batch])
    return meter.scores()


def real_outputs(model: QuantModel, network: Network, tensors: dict[str, Tensor]) -> Any:
    """What the user's model returns, out of the integers of all layers."""
    names = [name for name, _ in model.heads]
    found = {name: tensors[layer.name] * layer.output.scale for name, layer in zip(names, network.outputs, strict=True)}
    return model.result({name: tensor.float() for name, tensor in found.items()})


def spoken(scores: dict[str, float]) -> str:
    """Metrics as commands print them."""
    return ", ".join(f"{name} {value:.4f}" for name, value in scores.items())
