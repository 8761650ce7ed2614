"""Networks by name, for the command line and the recipes."""

from collections.abc import Callable

from torch import nn

from train.models.demo import DemoNet

#: Networks that `python -m train` knows by name.
MODELS: dict[str, Callable[[], nn.Module]] = {"demo": DemoNet}


def build_model(name: str) -> nn.Module:
    """New network of that name.

    Raises
    ------
    ValueError
        If there is no such network.
    """
    if name not in MODELS:
        raise ValueError(f"Model must be one of {tuple(MODELS)}, not {name!r}")
    return MODELS[name]()
