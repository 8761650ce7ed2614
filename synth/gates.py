"""Gates that a design writes out and ABC would not find: OR-AND gates with a signal and its complement at hand.

With both at hand, such a gate picks one of two signals and is smaller than the exclusive-or or the multiplexer that
does the same. ABC knows that the two are one signal, and uses it as neither. So what is written as the complement of
an AND of two ORs becomes the library's cell before ABC runs, and complements become signals of their own: those of a
repeated module's inputs, made once outside it, and those of registers inside it.
"""

from collections.abc import Iterator
from typing import Any

from twofold.synth.liberty import Gate

Module = dict[str, Any]
#: A port that brings complements is called as the port it complements, with this after it.
SUFFIX = "$not"


def place_gates(body: Module, gate: Gate) -> None:
    """Make a module's ``~((a | b) & (c | d))`` cells of the library, where no input is constant.

    Parameters
    ----------
    body
        A module of a netlist of word-level cells, JSON of Yosys; changed in place.
    gate
        The cell that does this.
    """
    drivers: dict[Any, tuple[str, Module, int]] = {}
    for cell in body["cells"].values():
        if cell["type"] in ("$and", "$or", "$not"):
            for position, bit in enumerate(cell["connections"]["Y"]):
                drivers[bit] = cell["type"], cell, position

    def inputs(bit: Any, kind: str) -> list[Any]:
        found, cell, position = drivers.get(bit, ("", {}, 0))
        if found != kind or any(len(cell["connections"][pin]) <= position for pin in "AB"):
            return []
        return [cell["connections"][pin][position] for pin in "AB"]

    for name, cell in list(body["cells"].items()):
        if cell["type"] != "$not" or len(cell["connections"]["A"]) != len(cell["connections"]["Y"]):
            continue
        rest = []
        for bit, result in zip(cell["connections"]["A"], cell["connections"]["Y"], strict=True):
            four = [pin for either in inputs(bit, "$and") for pin in inputs(either, "$or")]
            if len(four) == 4 and not any(isinstance(pin, str) for pin in four):
                pins = {pin: ("input", value) for pin, value in zip(gate.inputs, four, strict=True)}
                _add(body, f"{name}$gate${result}", gate.cell, pins | {gate.output: ("output", result)})
            else:
                rest.append((bit, result))
        cell["connections"] = {"A": [bit for bit, _ in rest], "Y": [result for _, result in rest]}
        cell["parameters"] |= {pin: f"{len(rest):032b}" for pin in ("A_WIDTH", "Y_WIDTH")}
        if not rest:
            del body["cells"][name]


def bring_complements(modules: dict[str, Module], name: str, inverter: Gate) -> None:
    """Bring the complements of a module's inputs through ports of it, and make those of its registers cells.

    Parameters
    ----------
    modules
        Those of a netlist of word-level cells, JSON of Yosys; changed in place.
    name
        The module. What instantiates it gets an inverter for each bit whose complement it asks for.
    inverter
        The cell that complements a register's bit in it.
    """
    asked = _take_inverters(modules[name], inverter)
    for other, body in modules.items():
        for cell in list(body["cells"].values()):
            if other != name and cell["type"] == name:
                _connect(body, cell, asked)


def _take_inverters(body: Module, inverter: Gate) -> dict[str, list[int]]:
    """Make ports and cells of a module's inverters; returns for each port the bits of it that are asked for."""
    where = {
        bit: (port, position)
        for port, facts in body["ports"].items()
        if facts["direction"] == "input"
        for position, bit in enumerate(facts["bits"])
    }
    stored = {
        bit
        for cell in body["cells"].values()
        if cell["type"].startswith(("$dff", "$sdff", "$adff"))
        for bit in cell["connections"]["Q"]
    }
    fresh = _fresh(body)
    same: dict[Any, Any] = {}
    made: dict[Any, int] = {}
    for name, cell in list(body["cells"].items()):
        source, target = cell["connections"].get("A"), cell["connections"].get("Y")
        if cell["type"] != "$not" or len(source) != len(target):
            continue
        del body["cells"][name]
        for position, (bit, result) in enumerate(zip(source, target, strict=True)):
            if bit in where or bit in stored:
                if bit not in made:
                    made[bit] = next(fresh)
                    if bit in stored:
                        pins = {inverter.inputs[0]: ("input", bit), inverter.output: ("output", made[bit])}
                        _add(body, f"{name}${position}", inverter.cell, pins)
                same[result] = made[bit]
            else:
                _add(body, f"{name}${position}", "$_NOT_", {"A": ("input", bit), "Y": ("output", result)})
    _replace(body, same)
    asked: dict[str, list[int]] = {}
    for bit in made:
        if bit in where:
            asked.setdefault(where[bit][0], []).append(where[bit][1])
    for port, positions in asked.items():
        bits = [made[body["ports"][port]["bits"][position]] for position in positions]
        body["ports"][port + SUFFIX] = {"direction": "input", "bits": bits}
        body["netnames"][port + SUFFIX] = {"hide_name": 0, "bits": bits, "attributes": {}}
    return asked


def _connect(body: Module, instance: Module, asked: dict[str, list[int]]) -> None:
    """Give an instance its complements, one inverter a net of the module that it stands in."""
    fresh = _fresh(body)
    for port, positions in asked.items():
        bits = []
        for position in positions:
            bit = instance["connections"][port][position]
            if isinstance(bit, str):
                bits.append({"0": "1", "1": "0"}.get(bit, bit))
                continue
            name = f"$complement${bit}"
            if name not in body["cells"]:
                _add(body, name, "$_NOT_", {"A": ("input", bit), "Y": ("output", next(fresh))})
            bits.append(body["cells"][name]["connections"]["Y"][0])
        instance["connections"][port + SUFFIX] = bits
        instance["port_directions"][port + SUFFIX] = "input"


def _add(body: Module, name: str, kind: str, pins: dict[str, tuple[str, Any]]) -> None:
    body["cells"][name] = {
        "hide_name": 1,
        "type": kind,
        "parameters": {},
        "attributes": {},
        "port_directions": {pin: direction for pin, (direction, _) in pins.items()},
        "connections": {pin: [bit] for pin, (_, bit) in pins.items()},
    }


def _fresh(body: Module) -> Iterator[int]:
    """Bits that no net of a module has."""
    used = [bit for net in body["netnames"].values() for bit in net["bits"] if not isinstance(bit, str)]
    used += [
        bit
        for cell in body["cells"].values()
        for bits in cell["connections"].values()
        for bit in bits
        if not isinstance(bit, str)
    ]
    start = max(used, default=1) + 1
    return iter(range(start, start + (1 << 30)))


def _replace(body: Module, same: dict[Any, Any]) -> None:
    """Write one bit for another wherever a module reads it."""
    for cell in body["cells"].values():
        for port, bits in cell["connections"].items():
            cell["connections"][port] = [same.get(bit, bit) for bit in bits]
    for net in (*body["ports"].values(), *body["netnames"].values()):
        net["bits"] = [same.get(bit, bit) for bit in net["bits"]]
