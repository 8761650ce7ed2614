"""Block RAMs counted from a build's numbers: those that synthesis used, and those that the table states."""

import re
from pathlib import Path

import pytest

from twofold.golden.config import load_config
from twofold.synth.block_ram import blocks, ecp5_blocks

TEXT = Path("docs/hardware.md").read_text(encoding="utf-8")
#: The rows of the table of builds: name, block RAMs.
ROWS = dict(re.findall(r"^\| `(\w+)` \| .+ \| (\d+) \|$", TEXT, re.MULTILINE))


def test_blocks_by_hand():
    assert blocks(36, 512) == blocks(18, 1024) == 1
    assert blocks(37, 512) == 2  # as 36 or as 18 wide
    assert blocks(48, 32768) == 96  # 9 wide: 6 side by side, 16 times 2048 lines
    assert blocks(1, 16385) == 2


@pytest.mark.parametrize("build", ["log_8x8", "subset_8x8"])
def test_as_many_as_synthesis_used(build):
    """The whole machine's row of the measured table has them in brackets."""
    ecp5 = TEXT.partition("## ECP5, 8x8")[2].partition("\n## ")[0]
    row = next(line for line in ecp5.splitlines() if line.startswith("| top"))
    measured = re.findall(r"\((\d+)\)", row)[("log_8x8", "subset_8x8").index(build)]
    assert ecp5_blocks(load_config(f"configs/{build}.toml")) == int(measured)


def test_every_build_is_in_the_table():
    assert ROWS == {path.stem: str(ecp5_blocks(load_config(path))) for path in Path("configs").glob("*.toml")}
