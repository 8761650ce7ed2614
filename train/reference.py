"""What `twofold sim` takes from PyTorch's side: the integer mode as a further opinion, and held-out images."""

import numpy as np
import torch
from numpy.typing import NDArray

from twofold.golden.network import Network
from twofold.train import integer
from twofold.train.data import BUILT_IN, load_data


def run(network: Network, x: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
    """Every layer's output, shape (B, C, H, W)."""
    return {name: tensor.numpy() for name, tensor in integer.run(network, torch.from_numpy(x)).items()}


def held_out(
    network: Network, data: str, count: int | None = None, name: str | None = None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The first held-out images of a data set as a network's inputs, and their labels.

    Parameters
    ----------
    data
        Path of the data set, or its name if it needs none.
    count
        How many images; ``None``: all.
    name
        Name of the data set; ``None``: the one that the network was exported with.

    Returns
    -------
    int64, shape (B, C, H, W); int64, shape (B,)

    Raises
    ------
    OSError
        If it cannot be read.
    ValueError
        If there is no such data set, it has fewer images, or they are not what the network takes.
    """
    built_in = data in BUILT_IN
    name = name or (data if built_in else str(network.meta.get("data", "")))
    if not name:
        raise ValueError(f"Data set must be named, --data-set NAME: network {network.name!r} does not say which it is")
    found = load_data(name, None if built_in else data)
    wanted = network.input
    form = (found.input.map_shape, found.input.bits, found.input.signed, found.input.scale)
    if form != (wanted.shape, wanted.bits, wanted.signed, wanted.scale):
        taken = f"{wanted.shape}, {wanted.bits} bits, signed {wanted.signed}, scale {wanted.scale}"
        raise ValueError(
            f"Images of data set {name!r} must be what network {network.name!r} takes ({taken}), "
            f"not {form[0]}, {form[1]} bits, signed {form[2]}, scale {form[3]}"
        )
    if count is not None and count > len(found.test_y):
        raise ValueError(f"Images must be at most {len(found.test_y)} (held out in {name!r}), not {count}")
    integers = found.integers(found.test_x[:count])
    return integers.reshape(-1, *wanted.shape).numpy(), found.test_y[:count].numpy()
