"""Liberty files: areas, functions and timing tables of a library's cells, and its adders found by what they compute."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import permutations
from pathlib import Path

from twofold.support.reading import LARGEST, unpack

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|/\*.*?\*/|//[^\n]*|[{}();:,]|[^\s{}();:,"]+', re.DOTALL)
_OPERATOR = re.compile(r"\s*([A-Za-z_][\w\[\]]*|[01()!'^*&+|])")

#: Truth tables over three inputs, bit k for the inputs' value k.
_SUM3, _CARRY3 = 0b10010110, 0b11101000
_SUM2, _CARRY2 = 0b0110, 0b1000


@dataclass
class Group:
    """A Liberty group: its attributes, last value kept, and the groups in it."""

    kind: str
    names: list[str]
    attributes: dict[str, list[str]] = field(default_factory=dict)
    groups: list["Group"] = field(default_factory=list)

    def text(self, name: str, default: str = "") -> str:
        """Value of a simple attribute."""
        return self.attributes.get(name, [default])[0]

    def number(self, name: str, default: float = 0.0) -> float:
        """Value of a numeric attribute."""
        return float(self.attributes[name][0]) if name in self.attributes else default

    def of(self, kind: str) -> list["Group"]:
        """The groups of a kind."""
        return [group for group in self.groups if group.kind == kind]


@dataclass(frozen=True)
class Adder:
    """A cell that adds two or three bits.

    Attributes
    ----------
    cell
        Its name.
    inputs
        Its input pins, in any order: addition does not care.
    sum, carry
        Its output pins.
    """

    cell: str
    inputs: tuple[str, ...]
    sum: str
    carry: str


@dataclass(frozen=True)
class Gate:
    """A cell of one output: its name, its input pins in the order of a function's inputs, its output pin."""

    cell: str
    inputs: tuple[str, ...]
    output: str


@dataclass
class Library:
    """The cells of a Liberty file by name.

    Attributes
    ----------
    cells
        Those that logic can be mapped to: cells that isolate, shift levels, gate clocks or must not be used are not.
    unusable
        The names of the others.
    """

    path: Path
    name: str
    cells: dict[str, Group]
    unusable: tuple[str, ...]
    time_unit: str
    templates: dict[str, Group]
    every: dict[str, Group]

    def area(self, cell: str) -> float:
        """Area of a cell, in the file's unit."""
        return self.every[cell].number("area")

    def adder(self, bits: int) -> Adder | None:
        """The smallest cell that adds `bits` (2 or 3) bits, if there is one."""
        wanted = {2: (_SUM2, _CARRY2), 3: (_SUM3, _CARRY3)}[bits]
        found = []
        for name, cell in self.cells.items():
            pins = cell.of("pin")
            inputs = tuple(pin.names[0] for pin in pins if pin.text("direction") == "input")
            outputs = [pin for pin in pins if pin.text("direction") == "output"]
            if len(inputs) != bits or len(outputs) != 2 or cell.of("ff") or cell.of("latch"):
                continue
            tables = {truth_table(pin.text("function", "0"), inputs): pin.names[0] for pin in outputs}
            if set(tables) == set(wanted):
                found.append((self.area(name), name, Adder(name, inputs, tables[wanted[0]], tables[wanted[1]])))
        return min(found, key=lambda entry: entry[:2])[2] if found else None

    def gate(self, function: str, names: tuple[str, ...]) -> Gate | None:
        """The smallest cell of one output with a function, if there is one.

        Parameters
        ----------
        function
            As Liberty writes it.
        names
            The inputs in it; the cell's pins are given in their order.
        """
        wanted = truth_table(function, names)
        found = []
        for name, cell in self.cells.items():
            inputs = [pin.names[0] for pin in cell.of("pin") if pin.text("direction") == "input"]
            outputs = [pin for pin in cell.of("pin") if pin.text("direction") == "output"]
            if len(inputs) != len(names) or len(outputs) != 1 or cell.of("ff") or cell.of("latch"):
                continue
            written = outputs[0].text("function", "0")
            order = next((pins for pins in permutations(inputs) if truth_table(written, pins) == wanted), None)
            if order is not None:
                found.append((self.area(name), name, Gate(name, order, outputs[0].names[0])))
        return min(found, key=lambda entry: entry[:2])[2] if found else None


def read_text(path: Path) -> str:
    """Text of a Liberty file, packed with gzip or not."""
    return unpack(path, LARGEST).decode("utf-8", "replace")


@lru_cache(maxsize=2)
def read_liberty(path: Path) -> Library:
    """Read a Liberty file.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is not a Liberty file; the message begins with the path.
    """
    reader = _Reader(read_text(path))
    try:
        if [reader.next(), reader.next()] != ["library", "("]:
            raise IndexError
        names = reader.arguments()
        reader.next()
        top = reader.group("library", names)
    except IndexError:
        raise ValueError(f"{path}: file must be a Liberty library, not something else") from None
    cells = {cell.names[0]: cell for cell in top.of("cell")}
    unusable = tuple(name for name, cell in cells.items() if _unusable(cell))
    templates = {group.names[0]: group for group in top.groups if group.kind.endswith("lu_table_template")}
    usable = {name: cell for name, cell in cells.items() if name not in unusable}
    return Library(path, top.names[0], usable, unusable, top.text("time_unit", "1ns"), templates, cells)


def _unusable(cell: Group) -> bool:
    flags = ("dont_use", "is_isolation_cell", "is_level_shifter", "always_on", "clock_gating_integrated_cell")
    return any(cell.text(flag, "false") not in ("false", "none") for flag in flags)


class _Reader:
    """Takes a Liberty file's tokens apart; raises IndexError where they end too early."""

    def __init__(self, text: str):
        self.tokens = [t for t in _TOKEN.findall(text) if not t.startswith(("/*", "//")) and t != "\\"]
        self.at = 0

    def next(self) -> str:
        """The next token, taken."""
        self.at += 1
        return self.tokens[self.at - 1]

    def arguments(self) -> list[str]:
        """What stands up to the closing parenthesis."""
        found = []
        while (token := self.next()) != ")":
            if token != ",":
                found.append(token.strip('"'))
        return found

    def group(self, kind: str, names: list[str]) -> Group:
        """A group, its opening brace taken."""
        group = Group(kind, names)
        while (name := self.next()) != "}":
            if name == ";":
                continue
            if self.next() == ":":
                value = []
                while self.tokens[self.at] not in (";", "}"):
                    value.append(self.next().strip('"'))
                group.attributes[name] = [" ".join(value)]
                continue
            arguments = self.arguments()
            if self.tokens[self.at] == "{":
                self.next()
                group.groups.append(self.group(name, arguments))
            else:
                group.attributes[name] = arguments
        return group


def truth_table(function: str, inputs: tuple[str, ...]) -> int:
    """Truth table of a Liberty function: bit k is its value where input n is bit n of k."""
    size = 1 << len(inputs)
    ones = (1 << size) - 1
    values = {name: sum(((k >> n) & 1) << k for k in range(size)) for n, name in enumerate(inputs)}
    return _Function(function, values | {"0": 0, "1": ones}, ones).parse()


class _Function:
    def __init__(self, text: str, values: Mapping[str, int], ones: int):
        self.tokens = _OPERATOR.findall(text)
        self.values = values
        self.ones = ones

    def parse(self) -> int:
        return self._or()

    def _next(self) -> str:
        return self.tokens[0] if self.tokens else ""

    def _or(self) -> int:
        value = self._xor()
        while self._next() in ("+", "|"):
            self.tokens.pop(0)
            value |= self._xor()
        return value

    def _xor(self) -> int:
        value = self._and()
        while self._next() == "^":
            self.tokens.pop(0)
            value ^= self._and()
        return value

    def _and(self) -> int:
        value = self._not()
        while self._next() and self._next() not in ("+", "|", "^", ")"):
            if self._next() in ("*", "&"):
                self.tokens.pop(0)
            value &= self._not()
        return value

    def _not(self) -> int:
        token = self.tokens.pop(0) if self.tokens else "0"
        if token == "!":
            return self.ones ^ self._not()
        if token == "(":
            value = self._or()
            if self._next() == ")":
                self.tokens.pop(0)
        else:
            value = self.values.get(token, 0)
        while self._next() == "'":
            self.tokens.pop(0)
            value ^= self.ones
        return value
