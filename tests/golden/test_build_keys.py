"""The table of build keys in docs/machine.md is that of `ArrayConfig`."""

import re
from dataclasses import MISSING, fields
from pathlib import Path

from twofold.golden import catalog
from twofold.golden.config import _RANGES, BUS_BITS, MEMORIES, PES, SELECTS, ArrayConfig

TEXT = Path("docs/machine.md").read_text(encoding="utf-8").partition("## Build keys")[2].partition("\n## ")[0]
ROWS = {row[0]: row[1:] for row in re.findall(r"^\| `(\w+)` \| (.+?) \| (.+?) \| (.+?) \|$", TEXT, re.MULTILINE)}


def written(value):
    if value is MISSING:
        return "required"
    if value == "":
        return "empty"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def choices(values):
    return ", ".join(f"`{value}`" for value in values)


def test_every_key_with_its_default():
    assert {key: row[0] for key, row in ROWS.items()} == {
        field.name: written(field.default) for field in fields(ArrayConfig)
    }


def test_every_range():
    ranges = {key: f"{low} to {high}" for key, low, high in _RANGES}
    ranges |= {"pe": choices(PES), "select": choices(SELECTS), "universal_set": choices(catalog.SUBSET_MENUS)}
    ranges |= {"memory": choices(MEMORIES), "bus_bits": choices(BUS_BITS)}
    ranges |= {"asymmetric": choices(["true", "false"]), "narrow_reads": choices(["true", "false"])}
    assert {key: ROWS[key][1] for key in ranges} == ranges
    assert set(ROWS) - set(ranges) == {"name", "menus"}
