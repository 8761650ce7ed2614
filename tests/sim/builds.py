"""Small builds that several tests simulate, so that each is compiled once."""

from dataclasses import replace

from twofold.golden.config import load_config
from twofold.golden.network import Network
from twofold.testing.random_network import random_network

#: Words of 4 bits, deep memories and tables: whole networks of the literature, reduced, fit.
DEEP = replace(
    load_config("configs/subset_4x4.toml"),
    name="deep_4x4",
    feature_depth=1 << 14,
    weight_depth=1 << 15,
    channel_depth=4096,
    program_depth=1 << 15,
    max_side=128,
    point_sets=128,
    tables=32,
)

#: A memory outside, and few feature lines, so that most tensors of its networks lie there.
OUTSIDE = replace(
    load_config("log_4x4"),
    name="outside_4x4",
    memory="axi4",
    bus_bits=64,
    acc_width=40,
    max_side=64,
    feature_depth=128,
    weight_depth=1024,
    channel_depth=64,
    program_depth=256,
)
#: Of networks that it runs: input on the chip and outside, outputs there and there.
OUTSIDE_SEEDS = (9, 18, 49)


def outside_network(seed: int) -> Network:
    """A network that does not fit that chip."""
    deep = {"feature_depth": 1 << 14, "channel_depth": 2048, "program_depth": 1 << 15}
    return random_network(seed, replace(OUTSIDE, memory="on_chip", **deep), layers=4, max_side=16)
