"""A build with a memory outside and networks that do not fit it, whose integers and cycles tests compare."""

from dataclasses import replace

from twofold.golden.config import load_config
from twofold.golden.network import Network
from twofold.testing.random_network import random_network

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


#: Of more networks: the cycles of an inference on RTL where the memory answers after so many cycles, by seed.
LATENCIES = (1, 32, 150)
CYCLES = {
    6: (3036, 4671, 13332),
    9: (3735, 4438, 8780),
    15: (3990, 4795, 9054),
    16: (3522, 4973, 12874),
    18: (2154, 2659, 5171),
    26: (1622, 1733, 3463),
    29: (8258, 11426, 35064),
}
