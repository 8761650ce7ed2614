"""The builds that are proven: those of `configs/` that are on one chip, one of every weight format that a build can
have, and small ones with a memory outside."""

from dataclasses import replace
from typing import Any

from twofold.golden.catalog import SUBSET_MENUS
from twofold.golden.config import BUS_BITS, ArrayConfig, load_config
from twofold.support import resources


def shipped() -> dict[str, ArrayConfig]:
    """The builds of `configs/` without a memory outside, by name."""
    found = {path.stem: load_config(path) for path in resources.shipped("configs")}
    return {name: config for name, config in found.items() if not config.external}


def tabled() -> dict[str, ArrayConfig]:
    """Builds with tables of pointwise functions, which none of `configs/` has."""
    return {"log_4x4 with tables": replace(load_config("log_4x4"), tables=3, table_bits=6)}


def narrow() -> dict[str, ArrayConfig]:
    """Small builds whose passes may read a part of an activation's bits."""
    found = {name: load_config(name) for name in ("log_4x4", "subset_4x4")}
    return {f"{name} with narrow reads": replace(config, narrow_reads=True) for name, config in found.items()}


def on_chip() -> dict[str, ArrayConfig]:
    """All of these."""
    return shipped() | tabled() | narrow()


def outside() -> dict[str, ArrayConfig]:
    """Builds with a memory outside, of every width of the bus."""
    small = load_config("log_4x4")
    return {f"log_4x4 outside, {bits} bits": replace(small, memory="axi4", bus_bits=bits) for bits in BUS_BITS}


def formats() -> dict[str, ArrayConfig]:
    """A build of every weight format, by what the format is called, besides those of `configs/`."""
    log, subset = load_config("log_8x8"), load_config("subset_8x8")
    found = {}
    for asymmetric in (False, True):
        for bits in range(2, 6):
            name = f"log {bits}-bit{' asymmetric' if asymmetric else ''}"
            found[name] = replace(log, word_bits=bits, asymmetric=asymmetric, acc_width=ACC_WIDTH)
    for option in SUBSET_MENUS:
        for bits in range(2, 5):
            found[f"subset {bits}-bit set {option}"] = replace(subset, word_bits=bits, universal_set=option)
    return found


def shipped_and_formats() -> dict[str, ArrayConfig]:
    """The builds of `configs/`, and one of every other weight format."""
    return shipped() | formats()


def selects() -> dict[str, ArrayConfig]:
    """Every build and format with either kind of gates in its PEs."""
    found = shipped_and_formats()
    gates = {name: replace(config, select="and_or") for name, config in found.items() if config.select != "and_or"}
    return found | {f"{name}, and_or": config for name, config in gates.items()}


#: Wide enough for every format.
ACC_WIDTH = 32

#: What a build is made smaller by where only a fault in it is looked for.
SMALL: dict[str, Any] = {
    "rows": 4,
    "cols": 4,
    "acc_depth": 64,
    "feature_depth": 256,
    "weight_depth": 256,
    "channel_depth": 64,
    "requant_units": 2,
    "program_depth": 256,
}
