"""Area of a multiply-accumulate in the array, beside the best multiplier that could stand there.

Every array is 16 x 16 with 8-bit activations and holds everything an array holds: double-buffered tile words, elements,
adder tree and its registers, with the same number of registers from operand to sum. Elements differ: ours; a
multiplier in each of several forms, of which the smallest counts; the unit that [SubsetQ] draws, with its
accumulator; and subset products made once a row. An array is its columns, so one column is mapped.

Standard cells need a Liberty file: ``LIBERTY=path``. Without it, only ECP5 is measured.
"""

import itertools
import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from amaranth.lib import wiring
from rich.console import Console
from rich.table import Table

from twofold.bench.elements.column import ElementColumn
from twofold.bench.elements.grid import Grid
from twofold.bench.elements.multiplier import FORMS, MultiplierElement
from twofold.bench.elements.paper_mac import PaperMacColumn
from twofold.bench.elements.shared_products import PickElement, RowProducts
from twofold.bench.tools.console import run_benchmark
from twofold.golden.config import ArrayConfig
from twofold.hdl.column import Column
from twofold.hdl.emit import emit_verilog
from twofold.support.commands import Parser, failed
from twofold.support.files import write_text
from twofold.support.once import Store
from twofold.support.output import build_folder
from twofold.synth.asic import STORE, AsicArea, asic_areas
from twofold.synth.fpga import FpgaResult, Technology, ecp5_trees, place_and_route, synthesise
from twofold.synth.liberty import read_liberty
from twofold.synth.paths import critical_path
from twofold.synth.yosys import read_json

REPORT = build_folder("bench", "area.json")
COLS = 16
LOG = ArrayConfig(name="area", pe="log", rows=16, cols=COLS, word_bits=3)
SUBSET = ArrayConfig(name="area", pe="subset", rows=16, cols=COLS, word_bits=4)
#: Pipeline and gates for each technology: registers after all four levels of the tree, or after every second one.
BUILDS: dict[str, dict[str, Any]] = {
    "asic": {"tree_step": 4, "select": "and_or"},
    "ecp5": {"tree_step": 2, "select": "mux"},
}


#: Clock rate (MHz) that place and route works for; no column reaches it.
PACE = 250.0


@dataclass(frozen=True)
class Design:
    """One way to fill the array.

    Attributes
    ----------
    pe
        What it is compared as: designs of the same name compete, and the smallest counts.
    form
        Which of them it is.
    parts : (component, how many in the array)
        What the array consists of.
    options
        Options of Yosys' ``synth`` for it.
    """

    pe: str
    form: str
    parts: tuple[tuple[Callable[[], wiring.Component], int], ...]
    options: str = ""


def designs(technology: str) -> Iterator[Design]:
    """Everything that is compared in a technology."""
    build = BUILDS[technology]
    log, subset = replace(LOG, **build), replace(SUBSET, **build)
    for bits in (3, 4):
        yield Design(f"log{bits}", "shifts", ((partial(Column, replace(log, word_bits=bits)), COLS),))
    for bits in (3, 4):
        config = replace(subset, word_bits=bits)
        yield Design(f"subset{bits}", "two terms", ((partial(Column, config), COLS),))
        picking = partial(ElementColumn, config, partial(PickElement, config))
        yield Design(f"subset{bits}", "shared products", ((picking, COLS), (partial(RowProducts, config), 1)))
    yield Design("paper_subset", "[SubsetQ]", ((partial(PaperMacColumn, subset), COLS),))
    for bits in (3, 4, 8):
        for form in FORMS:
            column = partial(ElementColumn, log, partial(MultiplierElement, log, bits, form))
            yield Design(f"multiply{bits}", f"Yosys, {form}", ((column, COLS),))
            if form == "operator":
                yield Design(f"multiply{bits}", "Yosys, booth", ((column, COLS),), "-booth")


def asic_per_mac(design: Design, liberty: Path) -> dict[str, float]:
    """Of the smallest netlist: area (um2) of a multiply-accumulate, of it registers, and the clock rate (MHz).

    And of the netlist of the least area x delay (um2 ns): that product, and its own area and clock rate.
    """
    macs = LOG.rows * COLS
    netlists = []
    for ways in itertools.product(*(_part_netlists(design, make, count, liberty) for make, count in design.parts)):
        total, registers, delay = (sum(column) for column in zip(*ways, strict=True))
        netlists.append((total / macs, registers / macs, delay))
    size, registers, delay = min(netlists)
    best_size, _, best_delay = min(netlists, key=lambda netlist: netlist[0] * netlist[2])
    return {
        "per_mac": round(size, 1),
        "registers": round(registers, 1),
        "mhz": round(1000 / delay),
        "area_delay": round(best_size * best_delay),
        "area_delay_per_mac": round(best_size, 1),
        "area_delay_mhz": round(1000 / best_delay),
    }


def _part_netlists(
    design: Design, make: Callable[[], wiring.Component], count: int, liberty: Path
) -> list[tuple[float, float, float]]:
    """Every way to map a part of an array: area and registers of all its copies (um2), and delay (ns)."""
    # One column stands for all: what stands outside of it, they share.
    whole, keep = (make(), ()) if count == 1 else (Grid(make, 1), ("part_column",))
    areas = asic_areas(
        emit_verilog(whole, "part"),
        "part",
        liberty,
        keep=keep,
        options=design.options,
        gate_clocks=True,
        effort="high",
    )
    found = []
    for area in areas:
        outside = outside_area(area, liberty) if keep else 0.0
        total = count * (area.area - outside) + outside
        # Parts stand one after the other between registers, so that their delays add up.
        found.append((total, count * area.sequential, critical_path(area, liberty)["delay"]))
    return found


def outside_area(area: AsicArea, liberty: Path) -> float:
    """Area (um2) of what stands in the top of a mapped design, outside the modules that were kept."""
    library = read_liberty(liberty.resolve())
    cells = read_json(Path(area.netlist))["modules"]["part"]["cells"].values()
    return sum(library.area(cell["type"]) for cell in cells if cell["type"] in library.every)


def ecp5_per_mac(design: Design, *, dsp: bool = False, route: bool = False, absorbs: bool = False) -> dict[str, float]:
    """LUT sites (two for a carry cell), flip-flops and DSP blocks of a multiply-accumulate.

    Parameters
    ----------
    dsp
        Whether multiplications may become DSP blocks.
    route
        Whether to place and route the column as well, for its clock rate (MHz) and area x delay (LUT sites x ns).
    absorbs
        Whether carry cells take in the gates before them.
    """
    luts = ffs = blocks = 0.0
    found: dict[str, float] = {}
    for make, count in design.parts:
        verilog = emit_verilog(make(), "part")
        mapped, technology = ecp5_mapped(verilog, "dsp" if dsp else design.options.strip("-"), absorbs=absorbs)
        share = count / (LOG.rows * COLS)
        luts, ffs = luts + share * mapped.luts, ffs + share * mapped.ffs
        blocks += share * mapped.cells.get("MULT18X18D", 0)
        if route and technology.installed and len(design.parts) == 1:
            routed = place_and_route(technology, verilog, "part", Store(STORE), target=PACE)
            if routed.fmax is not None:
                found = {"mhz": round(routed.fmax), "area_delay": round(1000 * luts / routed.fmax)}
    return {"per_mac": round(luts, 1), "registers": round(ffs, 1), "dsp": round(blocks, 2), **found}


def ecp5_mapped(verilog: str, multipliers: str = "", *, absorbs: bool = False) -> tuple[FpgaResult, Technology]:
    """A design, whose top module is ``part``, in the mapping with the fewest LUT sites; and that mapping."""
    ways = [ecp5_trees(mapper, multipliers, absorbs=absorbs) for mapper in ("abc", "abc9")]
    found = [(synthesise(way, verilog, "part", Store(STORE)), way) for way in ways]
    return min(found, key=lambda one: one[0].luts)


#: A form's measured areas and rates.
Sizes = dict[str, float]
#: Quantities that elements are compared in, and how their ratios are called in the report.
COMPARED = {"per_mac": "", "area_delay": "area_delay_"}
#: What each element is held against; the first one makes its `ratio`.
RIVALS = {
    "log3": ("multiply3", "multiply8"),
    "log4": ("multiply4", "multiply8"),
    "subset3": ("multiply4", "multiply8", "paper_subset"),
    "subset4": ("multiply4", "multiply8", "paper_subset"),
}


def smallest(forms: dict[str, Sizes]) -> str:
    """The form with the least area."""
    return min(forms, key=lambda name: forms[name]["per_mac"])


def ratios(found: dict[str, dict[str, Sizes]], quantity: str) -> dict[str, dict[str, float]]:
    """For each element with rivals, its least value of a quantity as a part of each rival's least."""
    values = {pe: [sizes[quantity] for sizes in forms.values() if quantity in sizes] for pe, forms in found.items()}
    best = {pe: min(value) for pe, value in values.items() if value}
    table = {pe: {r: round(best[pe] / best[r], 3) for r in RIVALS.get(pe, ()) if r in best} for pe in best}
    return {pe: rivals for pe, rivals in table.items() if rivals}


def compare(found: dict[str, dict[str, Sizes]]) -> dict[str, dict[str, object]]:
    """For each element its smallest form, and the ratios to its rivals' smallest; the same for least area x delay.

    Parameters
    ----------
    found
        Measured forms by element.
    """
    table: dict[str, dict[str, object]] = {}
    for pe, forms in found.items():
        form = smallest(forms)
        table[pe] = {**forms[form], "form": form, "forms": forms}
    for quantity, prefix in COMPARED.items():
        for pe, rivals in ratios(found, quantity).items():
            table[pe] |= {f"{prefix}ratio": next(iter(rivals.values())), f"{prefix}ratios": rivals}
    return table


def measure(
    technology: str, liberty: Path | None, names: set[str] | None = None, *, absorbs: bool = False
) -> dict[str, dict[str, Sizes]]:
    """Measure every design of a technology, or of some elements; on ECP5 also with gates in the carry cells.

    Returns
    -------
    Measured forms by element.
    """
    found: dict[str, dict[str, Sizes]] = {}
    for design in designs(technology):
        if names is not None and design.pe not in names:
            continue
        if liberty is not None:
            area = asic_per_mac(design, liberty)
        else:
            area = ecp5_per_mac(design, route=True, absorbs=absorbs)
        found.setdefault(design.pe, {})[design.form] = area
        print(f"{technology} {design.pe} ({design.form}): {area}", flush=True)
        if technology == "ecp5" and not absorbs and design.form == "Yosys, operator":
            with_dsp = ecp5_per_mac(design, dsp=True)
            found[design.pe][design.form]["with_dsp_sites"] = with_dsp["per_mac"]
            found[design.pe][design.form]["with_dsp_blocks"] = with_dsp["dsp"]
    return found


def show(technology: str, unit: str, found: dict[str, dict[str, Sizes]]) -> None:
    """Print one technology's table."""
    view = Table(title=f"{technology}: area of a multiply-accumulate, {unit}")
    for title in ("element", "smallest form", "area", "MHz", "against", "area x delay against"):
        view.add_column(title)
    parts = [ratios(found, quantity) for quantity in COMPARED]
    for pe, forms in found.items():
        form = smallest(forms)
        against = [", ".join(f"{value:.2f} of {rival}" for rival, value in part.get(pe, {}).items()) for part in parts]
        view.add_row(pe, form, f"{forms[form]['per_mac']:.1f}", str(forms[form].get("mhz", "-")), *against)
    Console(width=None if sys.stdout.isatty() else 160).print(view)


def main(arguments: list[str] | None = None) -> int:
    """Measure, print and write build/bench/area.json."""
    parser = Parser(prog="twofold bench area", description=str(__doc__).split("\n", 1)[0])
    parser.add_argument("--liberty", type=Path, default=os.environ.get("LIBERTY") or None, help="standard cells")
    parser.add_argument("--only", metavar="ELEMENT", nargs="+", help="elements to measure (default: all)")
    options = parser.parse_args(arguments)
    names = set(options.only) if options.only else None
    report: dict[str, object] = {}
    if options.liberty is not None:
        if not Path(options.liberty).is_file():
            return failed(f"Liberty file must exist, not {str(options.liberty)!r}")
        technology = Path(options.liberty).name.split("_")[0].split(".")[0]
        found = measure("asic", Path(options.liberty), names)
        report[technology] = compare(found)
        show(technology, "um2", found)
    else:
        print("standard cells: not measured (no LIBERTY=path)")
    for key, title, absorbs in (("ecp5", "ecp5", False), ("ecp5_carry_gates", "ecp5, gates in the carry cells", True)):
        found = measure("ecp5", None, names, absorbs=absorbs)
        report[key] = compare(found)
        show(title, "LUT sites", found)
    write_text(REPORT, json.dumps({"area": report}, indent=2) + "\n")
    print(f"report: {REPORT}")
    return 0


if __name__ == "__main__":
    sys.exit(run_benchmark(main))
