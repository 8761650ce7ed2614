"""Faults in the emitted netlist, made by Yosys' ``mutate``; one netlist holds all, a plusarg picks one."""

import json
import random
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from twofold.golden.config import ArrayConfig
from twofold.hdl.emit import components, emit, emit_component, top_name
from twofold.mutation.isomorphism import match_cells
from twofold.support.files import write_text
from twofold.synth.yosys import run_yosys

#: Name of the machine's own cells, those in no component: memories and what lies between components.
TOP = "top"
#: The netlist as far as names of cells are made; every other script goes on from there.
_READ = "hierarchy -check -top {top}; proc; opt_clean; memory_collect"
_FLATTEN = "flatten -noscopeinfo; opt_clean"
_INSTANCE = re.compile(r"^\$flatten(?:\\[^.\\]+\.)+(?=\$)")


@dataclass(frozen=True)
class Mutant:
    """One fault.

    Parameters
    ----------
    number
        What the plusarg ``mutant`` must be to switch it on; from 1.
    component
        Where it lies: a name of `hdl.emit.COMPONENTS`, or `TOP`.
    mode
        ``inv``, ``const0``, ``const1``, or inverted where another bit of the port is 0 or 1: ``cnot0``, ``cnot1``.
    cell, port, bit
        Which bit of which port.
    other
        Bit that decides, for ``cnot0`` and ``cnot1``.
    kind
        Type of the cell.
    """

    number: int
    component: str
    mode: str
    cell: str
    port: str
    bit: int
    other: int | None
    kind: str

    def command(self, module: str, cell: str, *, select: bool, width: int) -> str:
        """The Yosys command that makes the fault in a module, for good or only where the plusarg selects it."""
        other = "" if self.other is None else f" -ctrlbit {self.other}"
        control = f" -ctrl mutant {width} {self.number}" if select else ""
        return (
            f"mutate -mode {self.mode} -module {module} -cell {_escaped(cell)} "
            f"-port {self.port} -portbit {self.bit}{other}{control}"
        )

    def __str__(self) -> str:
        other = "" if self.other is None else f" by bit {self.other}"
        return f"{self.component}: {self.mode}{other} at {self.kind} {self.cell} port {self.port} bit {self.bit}"


@dataclass(frozen=True)
class Netlist:
    """The machine of a build as Yosys reads it, and its faults.

    Parameters
    ----------
    config
        The build.
    folder
        Where its files lie.
    mutants
        The faults.
    """

    config: ArrayConfig
    folder: Path
    mutants: tuple[Mutant, ...]

    @property
    def width(self) -> int:
        """Bits of the number that selects a fault."""
        return len(self.mutants).bit_length()

    @cached_property
    def machine(self) -> str:
        """Verilog of the whole machine with all faults."""
        top = top_name(self.config)
        return self._mutated("flat", top, [(mutant, mutant.cell) for mutant in self.mutants])

    def components_around(self, mutant: Mutant) -> list[str]:
        """Components that hold the fault, the innermost first."""
        names = {module: name for name, module in self._modules.items()}
        return [names[module] for module in reversed(self._path(mutant)[1]) if module in names]

    def component(self, name: str) -> str:
        """Verilog of a component by itself with all faults in it."""
        if name not in self._texts:
            faults = [(m, self.cell_in(name, m)) for m in self.mutants if name in self.components_around(m)]
            self._texts[name] = self._mutated(f"{name}_flat", f"twofold_{name}", faults)
        return self._texts[name]

    def faulty(self, name: str, mutant: Mutant | None) -> str:
        """Verilog of a component by itself with one fault, or none, for good."""
        lines = [f"read_rtlil {name}_flat.il"]
        if mutant is not None:
            lines.append(mutant.command(f"twofold_{name}", self.cell_in(name, mutant), select=False, width=0))
        write_text(self.folder / "faulty.ys", "\n".join([*lines, "write_verilog -noattr faulty.v"]) + "\n")
        run_yosys("script faulty.ys", self.folder)
        return (self.folder / "faulty.v").read_text(encoding="utf-8")

    def cell_in(self, name: str, mutant: Mutant) -> str:
        """Name of the faulty cell in the flat netlist of a component by itself."""
        instances, modules = self._path(mutant)
        at = modules.index(self._modules[name])
        inner, own = instances[at + 1 :], _own_name(mutant.cell)
        alone = self._design(name)
        module = f"twofold_{name}"
        for instance in inner:
            module = alone[module]["cells"][instance]["type"]
        key = (modules[-1], name, module)
        if key not in self._found:
            found = match_cells(self._design("machine")[modules[-1]], alone[module])
            if found is None:
                raise ValueError(f"Module {module} must have the same cells by itself as {modules[-1]} in the machine")
            self._found[key] = found
        cell = self._found[key][own]
        if not inner:
            return cell
        if cell.startswith("$"):
            return "$flatten" + "".join(f"\\{instance}." for instance in inner) + cell
        return ".".join((*inner, cell))

    @cached_property
    def _modules(self) -> dict[str, str]:
        return _components(self.config, self._design("machine"))

    @cached_property
    def _texts(self) -> dict[str, str]:
        return {}

    @cached_property
    def _found(self) -> dict[tuple[str, str, str], dict[str, str]]:
        return {}

    @cached_property
    def _designs(self) -> dict[str, dict[str, Any]]:
        return {}

    def _design(self, name: str) -> dict[str, Any]:
        if name not in self._designs:
            self._designs[name] = _modules(self.folder / f"{name}.json")
        return self._designs[name]

    def _path(self, mutant: Mutant) -> tuple[list[str], list[str]]:
        """Instances from the top down to the cell, and their modules."""
        head = mutant.cell[: len(mutant.cell) - len(_own_name(mutant.cell))]
        instances = [part.lstrip("\\") for part in head.removeprefix("$flatten").split(".") if part]
        design, module, modules = self._design("machine"), top_name(self.config), []
        for instance in instances:
            module = design[module]["cells"][instance]["type"]
            modules.append(module)
        return instances, modules

    def _mutated(self, source: str, top: str, faults: Iterable[tuple[Mutant, str]]) -> str:
        lines = [f"read_rtlil {source}.il"]
        lines += [mutant.command(top, cell, select=True, width=self.width) for mutant, cell in faults]
        lines += ["splitnets -driver", f"write_verilog -noattr {source}_mutants.v"]
        write_text(self.folder / f"{source}.ys", "\n".join(lines) + "\n")
        run_yosys(f"script {source}.ys", self.folder)
        return _selected_by_plusarg((self.folder / f"{source}_mutants.v").read_text(encoding="utf-8"))


def prepare(config: ArrayConfig, folder: Path, *, count: int, seed: int) -> Netlist:
    """Emits a build, reads it with Yosys and draws its faults (`read`, then `draw`).

    Parameters
    ----------
    config
        The build.
    folder
        Where files go; made if missing.
    count
        Number of faults.
    seed
        Of their choice.
    """
    read(config, folder)
    return draw(config, folder, count=count, seed=seed)


def read(config: ArrayConfig, folder: Path) -> None:
    """Emits a build and has Yosys read it into a folder, the machine and every component by itself."""
    write_text(folder / "machine.v", emit(config))
    reads = f"read_verilog machine.v; {_READ.format(top=top_name(config))}"
    script = [f"{reads}; write_rtlil machine.il; write_json machine.json"]
    for name in components(config):
        write_text(folder / f"{name}.v", emit_component(name, config))
        reads = f"read_verilog {name}.v; {_READ.format(top=f'twofold_{name}')}; write_json {name}.json"
        flat_files = f"write_rtlil {name}_flat.il; write_json {name}_flat.json"
        script.append(f"design -reset; {reads}; {_FLATTEN}; {flat_files}")
    write_text(folder / "read.ys", "\n".join(script) + "\n")
    run_yosys("script read.ys", folder)


def draw(config: ArrayConfig, folder: Path, *, count: int, seed: int) -> Netlist:
    """Draws faults of a build that was read, as many in each component as far as that goes.

    Left out are faults that are none: on a clock, of a constant bit to its own value, on an output bit that nothing
    reads.

    Parameters
    ----------
    config
        The build.
    folder
        Where its files lie.
    count
        Number of faults.
    seed
        Of their choice.
    """
    top = top_name(config)
    design = _modules(folder / "machine.json")
    homes = {**_components(config, design), TOP: top}
    names = [name for name, module in homes.items() if any(_bits(design[module]))]
    script = ["read_rtlil machine.il"]
    script += [f'setattr -set component "{name}" {module}/c:*' for name, module in homes.items()]
    script += [_FLATTEN, "write_rtlil flat.il", "write_json flat.json"]
    script += [f"mutate -list {count} -seed {seed} -o {name}.list a:component={name}" for name in names]
    write_text(folder / "list.ys", "\n".join(script) + "\n")
    run_yosys("script list.ys", folder)
    flat = _modules(folder / "flat.json")[top]
    numbers = random.Random(seed)
    pools = {}
    for name in names:
        lines = (folder / f"{name}.list").read_text(encoding="utf-8").splitlines()
        pools[name] = [fault for line in lines if _changes(fault := _parse(line, name, flat), flat)]
        numbers.shuffle(pools[name])
    chosen: list[dict[str, Any]] = []
    while len(chosen) < count and any(pools.values()):
        for pool in pools.values():
            if pool and len(chosen) < count:
                chosen.append(pool.pop())
    chosen.sort(key=lambda fault: list(pools).index(fault["component"]))
    mutants = tuple(Mutant(number=number, **fault) for number, fault in enumerate(chosen, start=1))
    return Netlist(config, folder, mutants)


def _components(config: ArrayConfig, design: Mapping[str, Any]) -> dict[str, str]:
    """Component to the module that it is in the machine."""
    found = {}
    for name in components(config):
        short = {"requant_unit": "unit"}.get(name, name)
        module = f"{top_name(config)}_{short}"
        if module not in design:
            raise ValueError(f"Machine must have a module for component {name}, there is no {module}")
        found[name] = module
    return found


def _modules(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))["modules"]


def _bits(module: Mapping[str, Any]) -> Iterable[object]:
    """Bits of the ports of a module's cells, instances of modules left out."""
    for cell in module["cells"].values():
        if cell["type"].startswith("$"):
            for bits in cell["connections"].values():
                yield from bits


def _parse(line: str, component: str, flat: Mapping[str, Any]) -> dict[str, Any]:
    words = line.split()
    values = {key.removeprefix("-"): value for key, value in zip(words[1::2], words[2::2], strict=True)}
    cell = values["cell"].removeprefix("\\")
    return {
        "component": component,
        "mode": values["mode"],
        "cell": cell,
        "port": values["port"].removeprefix("\\"),
        "bit": int(values["portbit"]),
        "other": int(values["ctrlbit"]) if "ctrlbit" in values else None,
        "kind": flat["cells"][cell]["type"],
    }


def _changes(fault: Mapping[str, Any], flat: Mapping[str, Any]) -> bool:
    """Whether a fault makes another netlist, of clocks that tick and ports that are always read as they are."""
    cell = flat["cells"][fault["cell"]]
    port, bits = fault["port"], cell["connections"][fault["port"]]
    if port.endswith("CLK") or (port == "RD_EN" and bits[fault["bit"]] == "1"):
        return False
    if cell["port_directions"][port] == "output":
        return bits[fault["bit"]] in _read_bits(flat)
    ends = {"const0": (fault["bit"], "0"), "const1": (fault["bit"], "1")}
    ends |= {"cnot0": (fault["other"], "1"), "cnot1": (fault["other"], "0")}
    if fault["mode"] not in ends:
        return True
    place, value = ends[fault["mode"]]
    return bits[place] != value


_READERS: dict[int, tuple[Mapping[str, Any], frozenset[object]]] = {}


def _read_bits(flat: Mapping[str, Any]) -> frozenset[object]:
    """Nets that a cell or an output of the machine reads."""
    kept = _READERS.get(id(flat))
    if kept is None:
        read: set[object] = set()
        for cell in flat["cells"].values():
            for port, bits in cell["connections"].items():
                if cell["port_directions"][port] == "input":
                    read.update(bits)
        for port in flat["ports"].values():
            if port["direction"] == "output":
                read.update(port["bits"])
        kept = _READERS[id(flat)] = (flat, frozenset(read))
    return kept[1]


def _own_name(cell: str) -> str:
    """Name of a cell in its module, from its name in the flat netlist."""
    return _INSTANCE.sub("", cell) if cell.startswith("$") else cell.rpartition(".")[2]


def _escaped(cell: str) -> str:
    return cell if cell.startswith("$") else f"\\{cell}"


def _selected_by_plusarg(text: str) -> str:
    """The netlist with its input `mutant` made a variable that ``+mutant=N`` sets, so that every bench can run it."""
    text, ports = re.subn(r"(module [^(]*\([^)]*), mutant(?=[,)])", r"\1", text)
    read = '  initial if (!$value$plusargs("mutant=%d", mutant)) mutant = 0;\n'
    text, inputs = re.subn(
        r"^  input( \[\d+:0\])? mutant;\n  wire(?: \[\d+:0\])? mutant;\n",
        rf"  reg\1 mutant;\n{read}",
        text,
        flags=re.MULTILINE,
    )
    if (ports, inputs) != (1, 1):
        raise ValueError(f"Netlist must have one input 'mutant', not {ports!r} ports and {inputs!r} declarations")
    # A bit with a fault makes its bus look like a loop.
    return "/* verilator lint_off UNOPTFLAT */\n" + text
