"""A small build that several tests simulate, so that it is compiled once."""

from dataclasses import replace

from twofold.golden.config import load_config

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
