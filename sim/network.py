"""Which builds a network of the user's can be simulated on, said before any simulator is looked for."""

from collections.abc import Sequence
from pathlib import Path

from golden.config import ArrayConfig, load_config
from golden.network import Network
from mapper.checks import used_points
from mapper.compiler import compile_network

BUILDS = Path("configs")


def made_for(network: Network) -> list[Path]:
    """The builds of `configs/` whose weight format is the network's, those of fewest PEs first."""
    formats = {network.point_sets[name].fmt for name in used_points(network)}
    builds = [(path, load_config(path)) for path in sorted(BUILDS.glob("*.toml"))]
    fitting = [(config.rows * config.cols, path) for path, config in builds if {config.fmt} == formats]
    return [path for _, path in sorted(fitting)]


def describe(network: Network) -> str:
    """Which build a network was made for, in a line."""
    named = network.meta.get("build")
    by_name = f"build {named!r}" if isinstance(named, str) else "a build of its weight format"
    paths = ", ".join(map(str, made_for(network))) or "none of configs/"
    return f"Network {network.name!r} was made for {by_name}: {paths}"


def checked(network: Network, configs: Sequence[ArrayConfig]) -> list[ArrayConfig]:
    """The builds to simulate: those given, else the smallest of `configs/` that the network fits.

    Raises
    ------
    ValueError
        If the network does not fit; the message says which build it was made for.
    """
    try:
        return [_mapped(network, config) for config in configs] or [_first(network)]
    except ValueError as error:
        raise ValueError(f"{error}. {describe(network)}") from error


def _mapped(network: Network, config: ArrayConfig) -> ArrayConfig:
    compile_network(network, config)
    return config


def _first(network: Network) -> ArrayConfig:
    wrong: ValueError = ValueError(f"Network {network.name!r} must be of the weight format of a build in configs/")
    for path in made_for(network):
        try:
            return _mapped(network, load_config(path))
        except ValueError as error:
            wrong = error
    raise wrong
