"""The Markdown table of `docs/results.md`, generated from `docs/results.json`."""

import json
from pathlib import Path

from twofold.bench.results.rows import ROWS, Row
from twofold.bench.tools.entries import Entry, read_entries
from twofold.support.files import write_text
from twofold.support.resources import SOURCES, need_sources

PAGE, SOURCE = SOURCES / "docs" / "results.md", SOURCES / "docs" / "results.json"
BEGIN, END = "<!-- begin of the tables: twofold results --write -->", "<!-- end of the tables -->"
HEAD = (
    "| recipe | W | A | fake-quantized | integer | drop | weights only | cycles | epochs | seed | seconds | measured |"
)


def key(entry: Entry) -> str:
    """`Row.key` of an entry."""
    return f"{entry['network']}-{entry['data']}-{entry['recipe']}"


def read(file: Path) -> list[Entry]:
    """Entries of a report; none where there is no file."""
    return read_entries(file, key)


def write(file: Path, entries: list[Entry]) -> None:
    """Write entries, in the order of the rows; those of no row at the end."""
    order = {row.key: place for place, row in enumerate(ROWS)}
    entries = sorted(entries, key=lambda entry: order.get(key(entry), len(order)))
    write_text(file, json.dumps(entries, indent=1) + "\n")


def put(entries: list[Entry], new: list[Entry]) -> list[Entry]:
    """The entries, those of the same rows replaced by the new ones."""
    keys = {key(entry) for entry in new}
    return [entry for entry in entries if key(entry) not in keys] + new


def tables(entries: list[Entry]) -> str:
    """A table for each network and data set."""
    found = {key(entry): entry for entry in entries}
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in ROWS:
        groups.setdefault((row.network, row.data), []).append(row)
    parts = []
    for (network, data), rows in groups.items():
        lines = [_line(row, found.get(row.key)) for row in rows]
        rule = "|---|" + "---:|" * 10 + "---|"
        parts.append("\n".join((f"### {network} on {data}", "", HEAD, rule, *lines)))
    return "\n\n".join(parts)


def page(text: str, entries: list[Entry]) -> str:
    """The page with its tables made anew.

    Raises
    ------
    ValueError
        If the marks of the tables are not there once each, in order.
    """
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(END) < text.index(BEGIN):
        raise ValueError(f"Page must have the lines {BEGIN!r} and {END!r}, once each and in this order")
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n\n{tables(entries)}\n\n{END}{rest.split(END)[1]}"


def publish(entries: list[Entry]) -> None:
    """Write `docs/results.json` and the tables of `docs/results.md`."""
    need_sources()
    text = page(PAGE.read_text(encoding="utf-8"), entries)
    write(SOURCE, entries)
    write_text(PAGE, text)


def _line(row: Row, entry: Entry | None) -> str:
    start = f"| `{row.name}` | {row.weight_bits} | {row.act_bits} |"
    if entry is None:
        return f"{start} not run | | | | | | | | `make results DATA=folder ROW={row.key}` |"
    integer = entry.get("integer_accuracy")
    drop = "" if integer is None else f"{100 * (entry['float_accuracy'] - integer):.2f}"
    seconds = entry.get("seconds")
    where = ", ".join(str(entry[name]) for name in ("date", "commit", "note") if entry.get(name))
    cells = (
        _percent(entry["accuracy"]),
        _percent(integer),
        drop,
        _percent(entry.get("weights_only_accuracy")),
        entry.get("cycles", ""),
        entry["epochs"],
        entry["seed"],
        "" if seconds is None else seconds,
        where,
    )
    return f"{start} {' | '.join(str(cell) for cell in cells)} |"


def _percent(part: float | None) -> str:
    return "" if part is None else f"{100 * part:.2f}"
