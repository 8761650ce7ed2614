"""A network of the user's on the builds to simulate, mapped before any simulator is looked for."""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from twofold.golden import image_folder
from twofold.golden.config import ArrayConfig, load_config
from twofold.golden.image import Image
from twofold.golden.network import Network
from twofold.mapper.builds import advice, first_fit, made_for, map_network
from twofold.sim import tools
from twofold.support.once import build_once, key_of
from twofold.testing.random_network import random_inputs

#: What reads held-out images of a data set; it needs PyTorch, which nothing else here does.
READER = "twofold.train.reference"
#: Random inputs, unless another number is asked for.
INPUTS = 3


def mapped(network: Network, configs: Sequence[ArrayConfig]) -> list[Image]:
    """The network's images on the builds given, else on the first of `configs/` that it was made for and fits.

    Raises
    ------
    ValueError
        If the network does not fit; the message says which build it was made for.
    """
    if configs:
        return [map_network(network, config) for config in configs]
    builds = made_for(network)
    if not builds:
        raise ValueError(f"Network {network.name!r} must be of the weight format of a build. {advice(network)}")
    found = first_fit(network)
    return [map_network(network, load_config(builds[0])) if found is None else found[1]]


def inputs(
    network: Network, count: int | None, seed: int, *, data: str | None = None, name: str | None = None
) -> tuple[NDArray[np.int64], NDArray[np.int64] | None]:
    """Inputs of a network, shape (B, C, H, W), and their labels, shape (B,), if they have any.

    Parameters
    ----------
    count
        How many; ``None``: 3 random ones, or all that the data set has.
    seed
        Of random ones.
    data, name
        Path and name of a data set, as `train.reference.held_out` takes them; ``None``: random inputs.

    Raises
    ------
    OSError, ValueError
        If the data set cannot be read, or its images are not what the network takes.
    """
    if data is None:
        return random_inputs(seed, network, INPUTS if count is None else count), None
    images: tuple[NDArray[np.int64], NDArray[np.int64]] = import_module(READER).held_out(network, data, count, name)
    return images


def kept(image: Image) -> Path:
    """The image as a folder that a bench can load; its name is its contents, so that no two commands disturb it."""
    key = key_of(modules=[image_folder.__name__], inputs=[repr(image)])
    folder = build_once(tools.BUILD / "sim" / "images", key, lambda made: image_folder.save(image, made / "image"))
    return (folder / "image").resolve()
