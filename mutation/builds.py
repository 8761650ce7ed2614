"""The builds that faults are seeded into: both PEs, one with tables, small enough that a simulation takes a blink."""

from typing import Any

from twofold.golden.config import ArrayConfig

_SMALL: dict[str, Any] = {
    "rows": 4,
    "cols": 4,
    "acc_depth": 16,
    "feature_depth": 256,
    "weight_depth": 256,
    "channel_depth": 64,
    "program_depth": 256,
    "max_side": 16,
    "max_pass_shift": 7,
}

#: Two builds that differ in PE, word width, point sets, requantisation units and tables.
BUILDS = (
    ArrayConfig(name="mutation_log", pe="log", word_bits=3, tables=2, table_bits=5, **_SMALL),
    ArrayConfig(name="mutation_subset", pe="subset", word_bits=4, point_sets=2, requant_units=2, **_SMALL),
)
