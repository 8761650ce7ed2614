"""The longest path of a design in standard cells, kept."""

from pathlib import Path
from typing import Any

from twofold.support.once import Store, key_of
from twofold.synth.asic import STORE, AsicArea
from twofold.synth.liberty import read_liberty
from twofold.synth.sta import Timing, longest_path
from twofold.synth.yosys import read_json


def critical_path(area: AsicArea, liberty: Path, store: Store | None = None) -> dict[str, Any]:
    """Longest path of a netlist by the library's tables: delay (ns), where from, where to, how many cells (levels)."""
    netlist = Path(area.netlist)

    def analyse(_: Path) -> dict[str, Any]:
        path = longest_path(read_json(netlist), Timing(read_liberty(liberty.resolve())))
        return {"delay": path.delay, "from": path.start, "to": path.end, "levels": path.cells}

    return (store or Store(STORE)).get(key_of(modules=[__name__], inputs=[netlist, liberty]), analyse).value
