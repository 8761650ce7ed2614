"""Which of the builds in `configs/` take a network: what a command says when it is given another."""

from pathlib import Path

from twofold.golden.config import ArrayConfig, load_config
from twofold.golden.image import Image
from twofold.golden.network import Network
from twofold.mapper.checks import used_points
from twofold.mapper.compiler import compile_network
from twofold.support import resources


def made_for(network: Network) -> list[Path]:
    """The builds whose weight format is the network's: first the one that it names, then those of fewest PEs, and those
    with a memory outside last."""
    formats = {network.point_sets[name].fmt for name in used_points(network)}
    builds = [(path, load_config(path)) for path in resources.shipped("configs")]
    fitting = [
        (config.name != network.meta.get("build"), config.external, config.rows * config.cols, path)
        for path, config in builds
        if {config.fmt} == formats
    ]
    return [path for *_, path in sorted(fitting)]


def describe(network: Network) -> str:
    """Which build a network was made for, in a line."""
    named = network.meta.get("build")
    by_name = f"build {named!r}" if isinstance(named, str) else "a build of its weight format"
    paths = ", ".join(resources.shown("configs", path) for path in made_for(network)) or "none of configs/"
    return f"Network {network.name!r} was made for {by_name}: {paths}"


def first_fit(network: Network) -> tuple[Path, Image] | None:
    """The first of `made_for` that the network fits, and its image there."""
    for path in made_for(network):
        try:
            return path, compile_network(network, load_config(path))
        except ValueError:
            continue
    return None


def advice(network: Network) -> str:
    """Which build to take, in a line."""
    found = first_fit(network)
    if found is None:
        return "It fits none of configs/: `twofold fit NETWORK` gives the smallest build file that it does"
    return f"It fits {resources.shown('configs', found[0])}"


def map_network(network: Network, config: ArrayConfig) -> Image:
    """Map a network to a build.

    Raises
    ------
    ValueError
        If it does not fit; the message says which build it was made for, and which to take.
    """
    try:
        return compile_network(network, config)
    except ValueError as error:
        raise ValueError(f"{error}. {describe(network)}. {advice(network)}") from error
