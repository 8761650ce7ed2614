"""Networks by name, for the command line and the recipes."""

from collections.abc import Callable
from functools import partial

from torch import nn

from train.models.demo import DemoNet
from train.models.resnet_cifar import ResNetCifar
from train.models.weights import load_weights

#: Networks that `python -m train` knows by name; each takes the number of classes and of the input's channels.
MODELS: dict[str, Callable[..., nn.Module]] = {
    "demo": DemoNet,
    "resnet20": partial(ResNetCifar, 20),
    "resnet32": partial(ResNetCifar, 32),
    "resnet56": partial(ResNetCifar, 56),
}

__all__ = ["MODELS", "build_model", "load_weights"]


def build_model(name: str, *, classes: int = 10, inputs: int | None = None) -> nn.Module:
    """New network of that name.

    Parameters
    ----------
    classes
        Outputs.
    inputs
        Channels of the input; ``None``: those that the network is made for.

    Raises
    ------
    ValueError
        If there is no such network.
    """
    if name not in MODELS:
        raise ValueError(f"Model must be one of {tuple(MODELS)}, not {name!r}")
    given = {} if inputs is None else {"inputs": inputs}
    return MODELS[name](classes=classes, **given)
