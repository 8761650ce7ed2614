"""Whether a fault changes anything: SAT on next state and outputs of the component, for every state and input."""

import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from twofold.mutation.netlist import TOP, Mutant, Netlist
from twofold.support.files import write_text
from twofold.synth.yosys import run_yosys

#: Longest that the solver may take (s).
TIMEOUT = 60
#: What a multiplexer is taken for.
FIRST = Path(__file__).with_name("first.v")
_BUFFER = "$buffer"
_MEMORY = re.compile(r"^  cell \$mem_v2 (\S+)\n(?:    .*\n)*  end\n", re.MULTILINE)
_FLIP_FLOP = re.compile(r"^  cell \$dff (\S+)\n(?:    .*\n)*  end\n", re.MULTILINE)


def equivalent(netlist: Netlist, mutant: Mutant) -> bool:
    """Whether Yosys proves that a component with the fault does what it does without.

    Every flip-flop becomes an input (its state) and an output (its next state), every memory inputs (what is read) and
    outputs (what controls it); then good and faulty logic must agree on all outputs for all inputs. So what is proven
    holds in every state, reachable or not.
    The next state of bits that no output depends on, however late, is not compared.

    Parameters
    ----------
    netlist
        The machine and its faults.
    mutant
        One of them, in a component.
    """
    if mutant.component == TOP:
        return False
    source = f"{mutant.component}_buffered.il"
    plain = (netlist.folder / f"{mutant.component}_flat.il").read_text(encoding="utf-8")
    flat = json.loads((netlist.folder / f"{mutant.component}_flat.json").read_text(encoding="utf-8"))
    write_text(netlist.folder / source, _buffered(plain, flat["modules"][f"twofold_{mutant.component}"]))
    cell = netlist.cell_in(mutant.component, mutant)
    if (mutant.kind, mutant.port) == ("$dff", "Q"):
        mutant, cell = replace(mutant, port="Y"), _BUFFER + cell
    elif mutant.kind == "$mem_v2":
        end = "Y" if mutant.port == "RD_DATA" else "A"
        mutant, cell = replace(mutant, port=end), f"{_BUFFER}{mutant.port}${cell}"
    lines = [
        f"read_rtlil {source}",
        f"rename twofold_{mutant.component} good",
        "copy good bad",
        mutant.command("bad", cell, select=False, width=0),
        "techmap -map first.v",
        "select -set exposed good/c:* bad/c:* good/w:state* bad/w:state* good/w:unseen* bad/w:unseen*",
        "expose -evert-dff @exposed",
        "delete -output good/w:unseen*.d bad/w:unseen*.d",
        "miter -equiv -flatten good bad miter",
        "hierarchy -top miter",
        "opt_merge -share_all",
        "opt_expr",
        "opt_clean",
        f"sat -verify -timeout {TIMEOUT} -prove trigger 0 miter",
    ]
    shutil.copy(FIRST, netlist.folder)
    write_text(netlist.folder / "equivalence.ys", "\n".join(lines) + "\n")
    try:
        run_yosys("script equivalence.ys", netlist.folder)
    except RuntimeError as error:
        text = (netlist.folder / "yosys.log").read_text(encoding="utf-8")
        if "proof did fail" in text or "Called with -verify" in text:
            return False
        raise error
    return True


def _buffered(text: str, module: Mapping[str, Any]) -> str:
    """RTLIL in which a buffer stands between each flip-flop and its readers, so that a fault leaves the state alone.

    States are named ``state<n>``, or ``unseen<n>`` the bits that no output depends on.
    """
    seen = _seen(module)

    def buffer(match: re.Match[str]) -> str:
        cell, name, number = match[0], match[1], match.start()
        output = re.search(r"connect \\Q (.*)\n", cell)
        assert output is not None
        bits = module["cells"][name.removeprefix("\\")]["connections"]["Q"]
        wires, parts = "", []
        for place, bit in enumerate(bits):
            wire = f"\\{'state' if bit in seen else 'unseen'}{number}_{place}"
            wires += f"  wire {wire}\n"
            parts.append(wire)
        state = "{ " + " ".join(reversed(parts)) + " }"
        faulty = cell.replace(output[0], f"connect {chr(92)}Q {state}{chr(10)}")
        return wires + faulty + _buffer(name, len(bits), state, output[1])

    def ports(match: re.Match[str]) -> str:
        """The memory outside the component; a buffer at each of its ports."""
        name, lines = match[1].removeprefix("\\"), ""
        for number, (port, bits) in enumerate(module["cells"][name]["connections"].items()):
            if port.endswith("CLK") or not bits:
                continue
            net = re.search(rf"connect \\{port} (.*)\n", match[0])
            assert net is not None
            wire, read = f"\\memory{match.start()}_{port}", port == "RD_DATA"
            lines += (
                f"  wire width {len(bits)} {'input' if read else 'output'} {match.start() + number + 1000} {wire}\n"
            )
            ends = (wire, net[1]) if read else (net[1], wire)
            lines += _buffer(f"{port}${name}", len(bits), *ends)
        return lines

    return _MEMORY.sub(ports, _FLIP_FLOP.sub(buffer, text))


def _buffer(name: str, width: int, source: str, target: str) -> str:
    return (
        f"  cell $pos {_BUFFER}{name}\n    parameter \\A_SIGNED 0\n    parameter \\A_WIDTH {width}\n"
        f"    parameter \\Y_WIDTH {width}\n    connect \\A {source}\n    connect \\Y {target}\n  end\n"
    )


def _seen(module: Mapping[str, Any]) -> set[object]:
    """Nets that an output of the module depends on, now or later."""
    drivers = {}
    for cell in module["cells"].values():
        for port, bits in cell["connections"].items():
            if cell["port_directions"][port] == "output":
                drivers.update({bit: (cell, place) for place, bit in enumerate(bits)})
    waiting = [bit for port in module["ports"].values() if port["direction"] == "output" for bit in port["bits"]]
    seen: set[object] = set()
    while waiting:
        bit = waiting.pop()
        if bit not in seen:
            seen.add(bit)
            if bit in drivers:
                waiting += _sources(*drivers[bit])
    return seen


def _sources(cell: Mapping[str, Any], place: int) -> list[object]:
    """Inputs of a cell that a bit of its output depends on."""
    ports = {port: cell["connections"][port] for port, kind in cell["port_directions"].items() if kind == "input"}
    if cell["type"] == "$dff":
        return [ports["D"][place]]
    if cell["type"] in ("$mux", "$pmux"):
        return [ports["A"][place], *ports["B"][place :: len(ports["A"])], *ports["S"]]
    return [bit for bits in ports.values() for bit in bits]
