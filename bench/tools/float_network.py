"""The trained float network that benchmarks on real images start from."""

from pathlib import Path

from torch import nn

from twofold.bench.results.rows import WEIGHTS
from twofold.train.data import DataSet
from twofold.train.models import build_model, load_weights


def float_network(name: str, data: DataSet, folder: Path) -> nn.Module:
    """The network of that name with its weights out of the data folder, ready to be evaluated."""
    model = build_model(name, classes=data.classes, inputs=data.input.shape[0])
    load_weights(model, folder / WEIGHTS[name])
    return model.eval()
