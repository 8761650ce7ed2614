"""The tables of `docs/claims.md`, generated from `docs/claims.json`."""

import json
from math import sqrt
from pathlib import Path
from statistics import fmean, stdev

from twofold.bench.claims.groups import GROUPS
from twofold.bench.claims.measure import key, row_name
from twofold.bench.claims.trials import Claim, Trial
from twofold.bench.tools.entries import Entry, read_entries
from twofold.support.files import write_text
from twofold.support.resources import SOURCES, need_sources

PAGE, SOURCE = SOURCES / "docs" / "claims.md", SOURCES / "docs" / "claims.json"
HEAD = "| | accuracy | beside the first | sure of it | measured |"


def read(file: Path) -> list[Entry]:
    """Entries of a report; none where there is no file."""
    return read_entries(file, key)


def put(entries: list[Entry], new: Entry) -> list[Entry]:
    """The entries with the new one, in the order of groups and trials; those that no group has are gone."""
    found = {key(entry): entry for entry in [*entries, new]}
    order = [row_name(g.key, trial.name, seed) for g in GROUPS for trial in g.trials for seed in g.seeds]
    return [found[name] for name in order if name in found]


def text_of(entries: list[Entry]) -> str:
    """Entries as their file has them."""
    return json.dumps(entries, indent=1) + "\n"


def begin(group: Claim) -> str:
    """Line of the page before a group's table."""
    return f"<!-- begin of {group.key}: twofold claims --write -->"


END = "<!-- end -->"


def table(group: Claim, entries: list[Entry]) -> str:
    """A group's table in Markdown."""
    lines = [_line(trial, group, entries) for trial in group.trials]
    return "\n".join((HEAD, "|---|---:|---:|---:|---|", *lines))


def page(text: str, entries: list[Entry]) -> str:
    """The page with its tables made anew.

    Raises
    ------
    ValueError
        If a group's marks are not there once, in order.
    """
    for group in GROUPS:
        parts = text.split(begin(group))
        if len(parts) != 2 or END not in parts[1]:
            raise ValueError(f"Page must have the line {begin(group)!r} once, and {END!r} after it")
        rest = parts[1].split(END, 1)[1]
        text = f"{parts[0]}{begin(group)}\n{table(group, entries)}\n{END}{rest}"
    return text


def publish(entries: list[Entry]) -> None:
    """Write `docs/claims.json` and the tables of `docs/claims.md`."""
    need_sources()
    text = page(PAGE.read_text(encoding="utf-8"), entries)
    write_text(SOURCE, text_of(entries))
    write_text(PAGE, text)


def sureness(gained: int, lost: int) -> float:
    """Deviations of McNemar's test: how far the two counts are apart, in standard deviations of chance."""
    return (gained - lost) / sqrt(gained + lost) if gained + lost else 0.0


def _line(trial: Trial, group: Claim, entries: list[Entry]) -> str:
    own = [entry for entry in entries if (entry["group"], entry["name"]) == (group.key, trial.name)]
    if not own:
        return f"| {trial.name} | not run | | | `twofold claims --data DATA --group {group.key}` |"
    base = [e for e in entries if (e["group"], e["name"]) == (group.key, group.trials[0].name)]
    percents = [100 * entry["accuracy"] for entry in own]
    shown = f"{fmean(percents):.2f}" + (f" ± {stdev(percents):.2f}" if len(own) > 1 else "")
    difference = sure = ""
    if base and own != base:
        difference = f"{fmean(percents) - fmean(100 * entry['accuracy'] for entry in base):+.2f}"
        pairs = [entry for entry in own if "gained" in entry]
        if pairs:
            sure = f"{sureness(sum(e['gained'] for e in pairs), sum(e['lost'] for e in pairs)):+.1f} sd"
    seeds = f", seeds {', '.join(str(entry['seed']) for entry in own)}" if len(own) > 1 else ""
    return f"| {trial.name} | {shown} | {difference} | {sure} | {own[-1]['date']}, {own[-1]['commit']}{seeds} |"
