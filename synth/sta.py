"""Static timing of a mapped netlist with a library's delay tables: the longest path between registers or ports.

Wires have no delay and no capacitance. A net with more than `FANOUT` sinks is taken as though buffers drove it, a tree
with `FANOUT` sinks each; those buffers are in no area.
"""

import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from twofold.synth.liberty import Group, Library, truth_table

FANOUT = 8
_UNITS = {"fs": 1e-6, "ps": 1e-3, "ns": 1.0, "us": 1e3}
_EDGES = ("rise", "fall")


@dataclass(frozen=True)
class Table:
    """Delays or transitions by input transition and load, interpolated linearly and held beyond the ends."""

    slews: tuple[float, ...]
    loads: tuple[float, ...]
    rows: tuple[tuple[float, ...], ...]

    def at(self, slew: float, load: float) -> float:
        """Value at a transition and a load."""
        i, x = _place(self.slews, slew)
        j, y = _place(self.loads, load)
        low, high = self.rows[i], self.rows[min(i + 1, len(self.rows) - 1)]
        k = min(j + 1, len(low) - 1)
        return (1 - x) * ((1 - y) * low[j] + y * low[k]) + x * ((1 - y) * high[j] + y * high[k])


def _place(axis: tuple[float, ...], value: float) -> tuple[int, float]:
    if len(axis) < 2 or value <= axis[0]:
        return 0, 0.0
    if value >= axis[-1]:
        return len(axis) - 1, 0.0
    i = bisect_right(axis, value) - 1
    return i, (value - axis[i]) / (axis[i + 1] - axis[i])


@dataclass(frozen=True)
class Arc:
    """From an input pin to an output pin: how edges go through, with delay and transition for each output edge."""

    source: str
    sense: str
    delay: Mapping[str, Table]
    transition: Mapping[str, Table]


class Timing:
    """The timing of a library's cells.

    Parameters
    ----------
    library
        The library.
    """

    def __init__(self, library: Library):
        self.liberty = library
        number, unit = re.fullmatch(r"([\d.]+)\s*(\w+)", library.time_unit).groups()  # type: ignore[union-attr]
        self.nanoseconds = float(number) * _UNITS[unit]
        self.capacitance: dict[tuple[str, str], float] = {}
        self.arcs: dict[tuple[str, str], list[Arc]] = {}
        self.setup: dict[tuple[str, str], float] = {}
        self.clocks: dict[str, str] = {}
        for name, cell in library.cells.items():
            for store in cell.of("ff"):
                self.clocks[name] = store.text("clocked_on").strip("!() ")
            for pin in cell.of("pin"):
                self._read_pin(name, pin)
        self.buffer = self._buffer()

    def _read_pin(self, cell: str, pin: Group) -> None:
        key = (cell, pin.names[0])
        self.capacitance[key] = pin.number("capacitance")
        for timing in pin.of("timing"):
            kind = timing.text("timing_type", "combinational")
            if kind.startswith("setup"):
                tables = [self._table(group) for edge in _EDGES for group in timing.of(f"{edge}_constraint")]
                self.setup[key] = max([self.setup.get(key, 0.0), *(table.at(0, 0) for table in tables)])
            elif kind in ("combinational", "rising_edge", "falling_edge"):
                delay = {edge: self._table(group) for edge in _EDGES for group in timing.of(f"cell_{edge}")}
                change = {edge: self._table(group) for edge in _EDGES for group in timing.of(f"{edge}_transition")}
                if delay.keys() == change.keys() and delay:
                    sense = timing.text("timing_sense", "non_unate") if kind == "combinational" else "non_unate"
                    arc = Arc(timing.text("related_pin"), sense, delay, change)
                    self.arcs.setdefault(key, []).append(arc)

    def _table(self, group: Group) -> Table:
        template = self.liberty.templates.get(group.names[0] if group.names else "", group)
        numbers = [_numbers([row]) for row in group.attributes["values"]]
        axes = {}
        for n in (1, 2):
            index = group.attributes.get(f"index_{n}") or template.attributes.get(f"index_{n}") or []
            variable = template.text(f"variable_{n}")
            axes["load" if "capacitance" in variable else "slew" if variable else f"none{n}"] = (n, _numbers(index))
        slews, loads = axes.get("slew", (0, ()))[1] or (0.0,), axes.get("load", (0, ()))[1] or (0.0,)
        flat = [value for row in numbers for value in row]
        if axes.get("load", (2, ()))[0] == 1:  # load first
            rows = tuple(tuple(flat[j * len(slews) + i] for j in range(len(loads))) for i in range(len(slews)))
        else:
            rows = tuple(tuple(flat[i * len(loads) : (i + 1) * len(loads)]) for i in range(len(slews)))
        return Table(slews, loads, rows)

    def _buffer(self) -> tuple[float, float, float]:
        """The quickest buffer: its input capacitance, delay with `FANOUT` of itself to drive, and transition."""
        found = []
        for name, cell in self.liberty.cells.items():
            inputs = [pin.names[0] for pin in cell.of("pin") if pin.text("direction") == "input"]
            outputs = [pin for pin in cell.of("pin") if pin.text("direction") == "output"]
            if len(inputs) == len(outputs) == 1 and truth_table(outputs[0].text("function", "0"), (inputs[0],)) == 0b10:
                own = self.capacitance[name, inputs[0]]
                for arc in self.arcs.get((name, outputs[0].names[0]), []):
                    delay = max(table.at(0.1, FANOUT * own) for table in arc.delay.values())
                    slew = max(table.at(0.1, FANOUT * own) for table in arc.transition.values())
                    found.append((delay, own, slew))
        delay, own, slew = min(found, default=(0.0, 0.0, 0.0))
        return own, delay, slew


def _numbers(texts: Iterable[str]) -> tuple[float, ...]:
    return tuple(float(number) for text in texts for number in text.replace(",", " ").split())


@dataclass(frozen=True)
class Path:
    """The longest path: delay (ns), the signals it begins and ends at, and the cells on it."""

    delay: float
    start: str
    end: str
    cells: int


def longest_path(netlist: Mapping[str, Any], timing: Timing) -> Path:
    """Longest path of a mapped netlist (JSON of Yosys), its kept hierarchy looked through.

    Memories are ends: paths end at their inputs and begin, at no delay, at their outputs.
    """
    graph = _Graph(netlist, timing)
    return graph.longest()


class _Graph:
    def __init__(self, netlist: Mapping[str, Any], timing: Timing):
        self.modules = netlist["modules"]
        self.timing = timing
        self.cells: list[tuple[str, dict[str, Any]]] = []
        self.sinks: dict[Any, list[tuple[str, str]]] = defaultdict(list)
        self.names: dict[Any, str] = {}
        top = next(name for name, body in self.modules.items() if int(body["attributes"].get("top", "0"), 2))
        body = self.modules[top]
        self.ends: list[tuple[Any, float, Any]] = []
        self._flatten(body, "", {})
        for port in body["ports"].values():
            if port["direction"] == "output":
                self.ends += [(("", bit), 0.0, ("", bit)) for bit in port["bits"] if not isinstance(bit, str)]

    def _flatten(self, body: Mapping[str, Any], prefix: str, outer: Mapping[Any, Any]) -> None:
        def net(bit: Any) -> Any:
            return None if isinstance(bit, str) else outer.get(bit, (prefix, bit))

        for name, wire in body["netnames"].items():
            for position, bit in enumerate(wire["bits"]):
                if not isinstance(bit, str):
                    label = f"{prefix}{name}" + (f"[{position}]" if len(wire["bits"]) > 1 else "")
                    if "$" not in name or net(bit) not in self.names:
                        self.names[net(bit)] = label
        for name, cell in body["cells"].items():
            kind = cell["type"].removeprefix("\\")
            if kind in self.timing.liberty.cells:
                pins = {pin: net(bits[0]) for pin, bits in cell["connections"].items() if bits}
                self.cells.append((kind, pins))
                for pin, bit in pins.items():
                    if (kind, pin) not in self.timing.arcs and bit is not None:
                        self.sinks[bit].append((kind, pin))
            elif kind in self.modules and self.modules[kind]["cells"]:
                inside = self.modules[kind]
                joined = {
                    bit: net(outside)
                    for port, bits in cell["connections"].items()
                    for bit, outside in zip(inside["ports"][port]["bits"], bits, strict=True)
                }
                self._flatten(inside, f"{prefix}{name}.", joined)
            else:
                for port, bits in cell["connections"].items():
                    if cell["port_directions"][port] == "input":
                        self.ends += [(net(bit), 0.0, net(bit)) for bit in bits if not isinstance(bit, str)]

    def longest(self) -> Path:
        timing = self.timing
        loads = {bit: self._load(sinks) for bit, sinks in self.sinks.items()}
        drivers: dict[Any, tuple[str, str, dict[str, Any]]] = {}
        for kind, pins in self.cells:
            for pin, bit in pins.items():
                if (kind, pin) in timing.arcs:
                    drivers[bit] = (kind, pin, pins)
                elif (kind, pin) in timing.setup and bit is not None:
                    kept = next((pins[out] for out in pins if (kind, out) in timing.arcs), bit)
                    self.ends.append((bit, timing.setup[kind, pin], kept))
        times: dict[Any, dict[str, tuple[float, float, Any, int]]] = {}
        for bit, _, _ in self.ends:
            self._arrive(bit, drivers, loads, times)
        zero = {"rise": (0.0, 0.0, None, 0)}
        best = max(
            ((edge[0] + setup, kept, edge) for bit, setup, kept in self.ends for edge in times.get(bit, zero).values()),
            key=lambda entry: entry[0],
            default=(0.0, None, zero["rise"]),
        )
        delay, end, (_, _, start, count) = best
        return Path(round(delay * timing.nanoseconds, 4), self._name(start), self._name(end), count)

    def _name(self, bit: Any) -> str:
        return self.names.get(bit, "")

    def _load(self, sinks: list[tuple[str, str]]) -> tuple[float, float, float]:
        """Load that a driver sees, delay of the buffers after it, and the transition they give (0: none)."""
        own, delay, slew = self.timing.buffer
        if len(sinks) <= FANOUT or not delay:
            return sum(self.timing.capacitance[sink] for sink in sinks), 0.0, 0.0
        levels, count = 0, len(sinks)
        while count > FANOUT:
            count = -(-count // FANOUT)
            levels += 1
        return count * own, levels * delay, slew

    def _arrive(self, target: Any, drivers: Any, loads: Any, times: Any) -> None:
        """Arrival (time, transition, start, cells) of both edges of a net; without recursion, since paths are long."""
        stack = [target]
        while stack:
            bit = stack[-1]
            if bit in times:
                stack.pop()
                continue
            if bit not in drivers:
                times[bit] = {edge: (0.0, 0.0, bit, 0) for edge in _EDGES}
                stack.pop()
                continue
            kind, pin, pins = drivers[bit]
            arcs = self.timing.arcs[kind, pin]
            clocked = kind in self.timing.clocks
            sources = [] if clocked else [pins.get(arc.source) for arc in arcs]
            waiting = [source for source in sources if source is not None and source not in times]
            if waiting:
                stack.extend(waiting)
                continue
            load, extra, slewed = loads.get(bit, (0.0, 0.0, 0.0))
            result: dict[str, tuple[float, float, Any, int]] = {}
            for arc in arcs:
                source = pins.get(arc.source)
                before = (
                    {"rise": (0.0, 0.0, bit, 0)} if clocked else times.get(source, {}) if source is not None else {}
                )
                for edge_in, (time, slew, start, count) in before.items():
                    for edge in arc.delay:
                        if (arc.sense, edge == edge_in) in (("positive_unate", False), ("negative_unate", True)):
                            continue
                        arrival = time + arc.delay[edge].at(slew, load) + extra
                        if edge not in result or arrival > result[edge][0]:
                            change = slewed or arc.transition[edge].at(slew, load)
                            result[edge] = (arrival, change, start, count + 1)
            times[bit] = result
            stack.pop()
