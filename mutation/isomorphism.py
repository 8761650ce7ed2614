"""Finds the cells of one netlist in another of the same design, whose names and order differ."""

import json
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

#: Rounds of refinement: the colour of a cell then depends on what lies as many cells around it.
ROUNDS = 12


def match_cells(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, str] | None:
    """Maps the cells of a module to those of an equal one, in the form of Yosys' ``write_json``.

    Colours are refined as in the Weisfeiler-Lehman test; where they leave a choice the order decides. The result is
    checked: every connection of a cell must be the same net in both, so that a wrong guess cannot come out.

    Parameters
    ----------
    first, second
        Modules; their ports may have other names and be fewer in `second`.

    Returns
    -------
    Name in `first` to name in `second`, instances of other modules left out; None if they are not the same.
    """
    groups = []
    for module in (first, second):
        group = defaultdict(list)
        for name, colour in _colours(_cells(module)).items():
            group[colour].append(name)
        groups.append(group)
    if {k: len(v) for k, v in groups[0].items()} != {k: len(v) for k, v in groups[1].items()}:
        return None
    found = {a: b for colour, names in groups[0].items() for a, b in zip(names, groups[1][colour], strict=True)}
    return found if _agree(_cells(first), _cells(second), found) else None


def _cells(module: Mapping[str, Any]) -> dict[str, Any]:
    """Cells but for instances of modules."""
    return {name: cell for name, cell in module["cells"].items() if cell["type"].startswith("$")}


def _kind(cell: Mapping[str, Any]) -> str:
    """What a cell is, without the names that the design gives."""
    parameters = {name: value for name, value in cell["parameters"].items() if name != "MEMID"}
    return json.dumps([cell["type"], parameters], sort_keys=True)


def _colours(cells: Mapping[str, Any]) -> dict[str, int]:
    colours = {name: hash(_kind(cell)) for name, cell in cells.items()}
    pins = defaultdict(list)
    for name, cell in cells.items():
        for port, bits in cell["connections"].items():
            for index, bit in enumerate(bits):
                pins[bit].append((name, port, index))
    for _ in range(ROUNDS):
        nets = {
            bit: hash(tuple(sorted((colours[name], port, index) for name, port, index in ends)))
            for bit, ends in pins.items()
            if isinstance(bit, int)
        }
        colours = {
            name: hash(
                (
                    colours[name],
                    tuple(
                        (port, tuple(nets.get(bit, bit) for bit in bits))
                        for port, bits in sorted(cell["connections"].items())
                    ),
                )
            )
            for name, cell in cells.items()
        }
    return colours


def _agree(first: Mapping[str, Any], second: Mapping[str, Any], found: Mapping[str, str]) -> bool:
    nets: dict[object, object] = {}
    for name, other in found.items():
        ours, theirs = first[name]["connections"], second[other]["connections"]
        if _kind(first[name]) != _kind(second[other]) or set(ours) != set(theirs):
            return False
        for port, bits in ours.items():
            for bit, image in zip(bits, theirs[port], strict=True):
                if nets.setdefault(bit, image) != image or (isinstance(bit, str) and bit != image):
                    return False
    return True
