"""Fifty random networks, drawn once, and one layer that tests shape to a purpose."""

from dataclasses import replace
from functools import cache

import numpy as np

from tests.mapper.small import branch, layer, network
from twofold.golden.config import load_config
from twofold.golden.formats import PointSet, WeightFormat
from twofold.golden.network import Network, Tensor
from twofold.testing.random_network import random_inputs, random_network

#: Every power of two up to 2**6.
WIDE = PointSet(WeightFormat(menus=((0, 1, 2, 3, 4, 5, 6, None),), index_bits=3), (0, 1, 2, 4, 8, 16, 32, 64))


@cache
def random_networks() -> tuple[tuple[Network, np.ndarray], ...]:
    """Networks of both kinds of arrays, with inputs."""
    configs = [load_config(name) for name in ("log_4x4", "subset_4x4")]
    networks = [random_network(seed, configs[seed % 2]) for seed in range(50)]
    return tuple((network, random_inputs(seed, network, 4)) for seed, network in enumerate(networks))


@cache
def networks_with_tables() -> tuple[tuple[Network, np.ndarray], ...]:
    """Networks of tables of 10 bits and fewer, with inputs."""
    config = replace(load_config("log_4x4"), tables=3, table_bits=10)
    networks = [random_network(seed, config) for seed in range(8, 16)]
    assert {layer.table.bits > 8 for one in networks for layer in one.layers if layer.table} == {True, False}
    return tuple((network, random_inputs(seed, network, 4)) for seed, network in enumerate(networks))


@cache
def networks_with_narrow_reads() -> tuple[tuple[Network, np.ndarray], ...]:
    """Networks whose branches read a part of an activation's bits, with inputs."""
    configs = [replace(load_config(name), narrow_reads=True) for name in ("log_4x4", "subset_4x4")]
    networks = [random_network(seed, configs[seed % 2]) for seed in range(10)]
    assert sum(branch.narrow is not None for one in networks for layer in one.layers for branch in layer.branches) > 9
    return tuple((network, random_inputs(seed, network, 4)) for seed, network in enumerate(networks))


def powers_of_two(network: Network) -> Network:
    """The network with scales and multipliers that are powers of two."""

    def near(tensor: Tensor) -> Tensor:
        return replace(tensor, scale=2.0 ** round(np.log2(tensor.scale)))

    layers = []
    for one in network.layers:
        most = np.left_shift(1, np.floor(np.log2(np.maximum(one.multiplier, 1))).astype(np.int64))
        table = one.table and replace(one.table, scale=2.0 ** round(np.log2(one.table.scale)))
        layers.append(replace(one, table=table, output=near(one.output), multiplier=np.where(one.multiplier, most, 0)))
    return replace(network, input=near(network.input), layers=tuple(layers))


def sums(code: int, shift: int, *, inputs: int = 4, bits: int = 8, signed: bool = False, **changes) -> Network:
    """One output of a sum over channels, each times the same weight."""
    one = branch(np.full((1, 1, inputs, 1, 1), code), points="wide", shifts=(shift,))
    return network(
        [layer("sum", [one], (1, 1, 1), **changes)], (inputs, 1, 1), {"wide": WIDE}, bits=bits, signed=signed
    )
