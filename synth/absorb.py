"""Gates in front of ECP5's carry chains go into the carry cells, whose look-up tables have two inputs to spare.

Half a CCU2C is a look-up table of four inputs, P, and the part of it for C = D = 0, a table of A and B, G. The sum is
P ^ carry in; the carry out is carry in where P is set, else G. Yosys uses A and B alone, for the two bits to add, and
leaves what comes before, as the ANDs of an array multiplier, in look-up tables of its own.
"""

from collections import Counter
from itertools import permutations, product
from typing import Any

Module = dict[str, Any]
#: A function: the nets that it reads, and its table, bit k being its value where net n is bit n of k.
Function = tuple[tuple[Any, ...], int]
PINS = "ABCD"


def absorb(netlist: dict[str, Any]) -> int:
    """Let carry cells take in look-up tables that feed nothing else; returns how many went.

    Parameters
    ----------
    netlist
        JSON of Yosys after mapping to ECP5; its top is changed in place.
    """
    body = next(body for body in netlist["modules"].values() if int(body["attributes"].get("top", "0"), 2))
    readers = Counter(
        bit
        for cell in body["cells"].values()
        for pin, bits in cell["connections"].items()
        if cell["port_directions"][pin] == "input"
        for bit in bits
    )
    readers.update(bit for port in body["ports"].values() if port["direction"] != "input" for bit in port["bits"])
    tables = {
        cell["connections"]["Z"][0]: name
        for name, cell in body["cells"].items()
        if cell["type"] == "LUT4" and readers[cell["connections"]["Z"][0]] == 1
    }
    gone: set[str] = set()
    for cell in body["cells"].values():
        for half in "01" if cell["type"] == "CCU2C" else "":
            gone |= _absorb_half(body, cell, half, tables)
    for name in gone:
        del body["cells"][name]
    return len(gone)


def _absorb_half(body: Module, cell: Module, half: str, tables: dict[Any, str]) -> set[str]:
    """Take in as many of the two tables before half a carry cell as fit; returns their names."""
    pins = cell["connections"]
    init = int(cell["parameters"][f"INIT{half}"], 2)
    if (init, pins[f"D{half}"]) != (0x96AA, ["1"]) or not isinstance(pins[f"C{half}"][0], str):
        return set()
    inverted = pins[f"C{half}"][0] == "1"
    added = [pins[f"{pin}{half}"][0] for pin in "AB"]
    choices = [[False, True] if bit in tables else [False] for bit in added]
    for taken in sorted(product(*choices), key=sum, reverse=True):
        if not any(taken):
            break
        one, other = (
            _function(body["cells"][tables[bit]]) if take else _wire(bit)
            for bit, take in zip(added, taken, strict=True)
        )
        found = fit(one, (other[0], ~other[1] & _ones(other[0])) if inverted else other)
        if found is not None:
            for pin, bit in zip(PINS, found[0], strict=True):
                pins[f"{pin}{half}"] = [bit]
            cell["parameters"][f"INIT{half}"] = f"{found[1]:016b}"
            return {tables[bit] for bit, take in zip(added, taken, strict=True) if take}
    return set()


def fit(one: Function, other: Function) -> tuple[tuple[Any, ...], int] | None:
    """How half a carry cell adds the results of two functions: nets for its pins and its table; None if it cannot."""
    nets = tuple(dict.fromkeys(one[0] + other[0]))
    if len(nets) > len(PINS):
        return None
    rows = []
    for values in product((0, 1), repeat=len(nets)):
        known = dict(zip(nets, values, strict=True))
        rows.append((known, _value(one, known), _value(other, known)))
    # A pin without a net stands at one, so that rows with a zero there are free.
    for order in permutations(nets + (None,) * (len(PINS) - len(nets))):
        table: dict[int, int] = {}
        for known, x, y in rows:
            table[_row(order, known)] = x ^ y
        if all(table.setdefault(_row(order, known) & 3, x) == x for known, x, y in rows if x == y):
            init = sum(value << row for row, value in table.items())
            return tuple("1" if net is None else net for net in order), init
    return None


def _row(order: tuple[Any, ...], known: dict[Any, int]) -> int:
    return sum(known.get(net, 1) << n for n, net in enumerate(order))


def _value(function: Function, known: dict[Any, int]) -> int:
    return function[1] >> sum(known[net] << n for n, net in enumerate(function[0])) & 1


def _ones(nets: tuple[Any, ...]) -> int:
    return (1 << (1 << len(nets))) - 1


def _wire(bit: Any) -> Function:
    return ((), int(bit == "1")) if isinstance(bit, str) else ((bit,), 0b10)


def _function(cell: Module) -> Function:
    """What a look-up table computes of the nets that are not constant."""
    bits = [cell["connections"][pin][0] if cell["connections"].get(pin) else "0" for pin in PINS]
    nets = tuple(dict.fromkeys(bit for bit in bits if not isinstance(bit, str)))
    init, table = int(cell["parameters"]["INIT"], 2), 0
    for k in range(1 << len(nets)):
        known = {net: k >> n & 1 for n, net in enumerate(nets)} | {"0": 0, "1": 1, "x": 0}
        table |= (init >> sum(known[bit] << n for n, bit in enumerate(bits)) & 1) << k
    return nets, table
