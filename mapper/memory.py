"""Feature memory: where every tensor lies, with reuse of what is no longer read."""

from collections.abc import Collection, Mapping

from twofold.golden.config import ArrayConfig
from twofold.golden.network import INPUT, Network


def tensor_lines(config: ArrayConfig, shape: tuple[int, int, int]) -> int:
    """Lines that a tensor (channels, height, width) takes."""
    channels, height, width = shape
    return -(-channels // config.rows) * height * width


def lifetimes(network: Network) -> dict[str, tuple[int, int]]:
    """For each tensor the first and last layer (numbers) at which its lines are taken.

    The input is there from layer 0 on, the network's outputs until the end.
    """
    last = {INPUT: 0} | {layer.name: number for number, layer in enumerate(network.layers)}
    first = dict(last)
    for number, layer in enumerate(network.layers):
        for source in layer.sources:
            last[source] = number
    last |= {layer.name: len(network.layers) for layer in network.outputs}
    return {name: (first[name], last[name]) for name in first}


def allocate(config: ArrayConfig, network: Network, outside: Collection[str] = ()) -> dict[str, int]:
    """First line of every tensor but those outside the chip: the largest first, each at the lowest address that is free
    while it lives."""
    lives = lifetimes(network)
    tensors = {name: tensor for name, tensor in network.tensors.items() if name not in outside}
    sizes = {name: tensor_lines(config, tensor.shape) for name, tensor in tensors.items()}
    places: dict[str, int] = {}
    for name in sorted(sizes, key=lambda name: (-sizes[name], lives[name])):
        taken = sorted((places[other], sizes[other]) for other in places if _overlap(lives[name], lives[other]))
        address = 0
        for begin, size in taken:
            if begin - address >= sizes[name]:
                break
            address = max(address, begin + size)
        places[name] = address
    return places


def feature_lines(config: ArrayConfig, network: Network, places: Mapping[str, int]) -> int:
    """Lines of feature memory that a placement takes."""
    return max(places[name] + tensor_lines(config, tensor.shape) for name, tensor in network.tensors.items())


def _overlap(one: tuple[int, int], other: tuple[int, int]) -> bool:
    return one[0] <= other[1] and other[0] <= one[1]
