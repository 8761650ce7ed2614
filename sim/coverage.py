"""What benches reach of the Verilog: Verilator's counts of blocks and branches, and of bits that rise and fall."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from twofold.support.digests import digest
from twofold.support.tables import read_toml


class Point(NamedTuple):
    """Something that a bench reaches or does not.

    Parameters
    ----------
    build, component
        Of the hardware; a module's name without what the names of its text begin with.
    kind
        ``line`` (a block or branch) or ``toggle`` (a bit that rises or falls).
    name
        A branch's number among those of its module, of which texts may have several forms; or a bit and its edge, and
        which it is of so many signals of that name.
    """

    build: str
    component: str
    kind: str
    name: str


class Count(NamedTuple):
    """How often a point was reached, and a place of it in a text."""

    hits: int
    place: str


Points = dict[Point, Count]
#: Verilator's kinds that count as lines.
_LINES = ("line", "branch")
KINDS = ("line", "toggle")
#: A number that Amaranth appends to a name which there is already, as Verilator writes it; and which bit it is.
_NUMBER, _BIT = re.compile(r"__024(\d+)"), re.compile(r"\[\d+\]$")
#: In lines with which Yosys wakes its blocks: an empty `if` that is never true.
_WAKING = "$auto$verilog_backend"


def read(path: Path, build: str) -> Points:
    """What Verilator counted (``coverage.dat``) in a bench of a build, by point; instances of a module count together.

    Parameters
    ----------
    path
        The file; ``design.v`` beside it is the text.
    build
        Name of the build.

    Raises
    ------
    ValueError
        If the file is none of Verilator's.
    """
    texts = path.with_name("design.v").read_text(encoding="utf-8").splitlines()
    found: Points = {}
    branches: dict[str, list[tuple[int, int, str, int]]] = defaultdict(list)
    bits: dict[str, list[tuple[int, str, int]]] = defaultdict(list)
    top = ""
    for facts, hits in _records(path):
        kind, _, module = facts["page"].removeprefix("v_").partition("/")
        top = facts["h"].partition(".")[0]
        name, line, column = facts["o"], int(facts["l"]), int(facts["n"])
        if kind in _LINES:
            if _WAKING not in texts[line - 1]:
                branches[module].append((line, column, name, hits))
        # `$1` and the like are parts of expressions; what they make up has a name.
        elif not name.startswith("__024"):
            bits[module].append((line, name, hits))
    for module, counted in bits.items():
        common = _common({name for _, name, _ in counted})
        for line, name, hits in counted:
            point = Point(build, _component(module, top, build), "toggle", common[name])
            found[point] = Count(hits + (found[point].hits if point in found else 0), f"{top}:{line}")
    for module, rows in branches.items():
        # The same module in another text has the same branches in the same order, on other lines.
        rows.sort()
        form = digest("\n".join(name for _, _, name, _ in rows).encode())[:6]
        for number, (line, column, name, hits) in enumerate(rows):
            point = Point(build, _component(module, top, build), "line", f"{form} {number} {name}")
            found[point] = Count(hits, f"{top}:{line}:{column}")
    return found


def _common(names: Iterable[str]) -> dict[str, str]:
    """Names of a module's bits in any text: Amaranth's number of a signal is its place among those of its name."""
    numbers: dict[str, set[tuple[int, ...]]] = defaultdict(set)
    parts = {name: (_NUMBER.sub("", name.partition(":")[0]), name) for name in names}
    for bare, name in parts.values():
        numbers[_BIT.sub("", bare)].add(_numbers(name))
    found = {}
    for bare, name in parts.values():
        alike = sorted(numbers[_BIT.sub("", bare)])
        place = f"{bare} {alike.index(_numbers(name)) + 1}/{len(alike)}" if len(alike) > 1 else bare
        found[name] = f"{place}:{name.partition(':')[2]}"
    return found


def _numbers(name: str) -> tuple[int, ...]:
    return tuple(map(int, _NUMBER.findall(name)))


def _records(path: Path) -> Iterable[tuple[dict[str, str], int]]:
    lines = path.read_text(encoding="utf-8").splitlines()
    if not lines or not lines[0].startswith("# SystemC::Coverage"):
        raise ValueError(f"{path}: file must be Verilator's coverage, not this")
    for line in lines[1:]:
        match = re.fullmatch(r"C '(.*)' (\d+)", line)
        if match is None:
            raise ValueError(f"{path}: line must be a count of Verilator's, not {line[:80]!r}")
        yield dict(part.split("\2", 1) for part in match[1].split("\1") if part), int(match[2])


def _component(module: str, top: str, build: str) -> str:
    name = top.removeprefix("twofold_") if module == top else module.removeprefix(f"{top}_")
    # Of modules of one name, Amaranth marks the second.
    return {build: "top", "unit": "requant_unit"}.get(name, name).rstrip("_")


def merge(tables: Iterable[Points]) -> Points:
    """Counts of several benches together."""
    found: Points = {}
    for table in tables:
        for point, count in table.items():
            found[point] = Count(count.hits + (found[point].hits if point in found else 0), count.place)
    return found


class Exclusion(NamedTuple):
    """Points that no program of the builds reaches.

    Parameters
    ----------
    component, kind
        Of the points.
    name
        A regular expression of their whole names.
    reason
        Why none is reached.
    build
        A regular expression of the builds' names.
    """

    component: str
    kind: str
    name: str
    reason: str
    build: str = ".*"

    def covers(self, point: Point) -> bool:
        """Whether the point is one of them."""
        patterns = ((self.build, point.build), (self.name, point.name))
        mine = (self.component, self.kind) == (point.component, point.kind)
        return mine and all(re.fullmatch(pattern, text) for pattern, text in patterns)


def exclusions(path: Path | None = None) -> list[Exclusion]:
    """Those of a file, without one of ``unreached.toml``.

    Raises
    ------
    ValueError
        If a row lacks a key, or its reason.
    """
    path = path or Path(__file__).with_name("unreached.toml")
    rows = read_toml(path).get("exclusion", [])
    needed = set(Exclusion._fields) - {"build"}
    for row in rows:
        if set(row) - {"build"} != needed or not all(row.values()):
            raise ValueError(f"{path}: exclusion must have {', '.join(sorted(needed))}, not {row!r}")
    return [Exclusion(**row) for row in rows]


def summary(points: Points, excluded: Iterable[Exclusion]) -> list[dict[str, Any]]:
    """By component, and of all: how many points there are, are reached and are excluded, and which are missed."""
    excluded = list(excluded)
    parts: dict[str, Points] = defaultdict(dict)
    for point, count in points.items():
        parts[point.component][point] = count
    rows: list[dict[str, Any]] = [
        {"component": name, **{kind: _counted(parts[name], kind, excluded) for kind in KINDS}} for name in sorted(parts)
    ]
    total = {kind: {key: sum(row[kind][key] for row in rows) for key in _NUMBERS} for kind in KINDS}
    return [*rows, {"component": "all", **total}]


_NUMBERS = ("points", "reached", "excluded")


def _counted(points: Points, kind: str, excluded: list[Exclusion]) -> dict[str, Any]:
    mine = {point: count for point, count in points.items() if point.kind == kind}
    missed = {point: count.place for point, count in mine.items() if not count.hits}
    left = {point: place for point, place in missed.items() if not any(one.covers(point) for one in excluded)}
    out = len(missed) - len(left)
    names = [f"{point.build} {point.name} ({place})" for point, place in left.items()]
    return {"points": len(mine) - out, "reached": len(mine) - len(missed), "excluded": out, "missed": names}


def table(rows: list[dict[str, Any]]) -> str:
    """The summary as lines of text."""
    lines = [f"{'component':20} {'lines %':>8} {'of':>6} {'toggles %':>10} {'of':>7} {'excluded':>9}"]
    for row in rows:
        line, toggle = row["line"], row["toggle"]
        out = line["excluded"] + toggle["excluded"]
        shares = f"{_share(line):>8} {line['points']:>6} {_share(toggle):>10} {toggle['points']:>7}"
        lines.append(f"{row['component']:20} {shares} {out:>9}")
    return "\n".join(lines)


def _share(counts: Mapping[str, int]) -> str:
    return f"{100 * counts['reached'] / counts['points']:.1f}" if counts["points"] else "-"
