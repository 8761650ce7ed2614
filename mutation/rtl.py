"""Faults in the emitted netlist: who finds them.

A fault goes through what is cheap first: the whole machine behind its C++ host, then a proof that it changes nothing,
then the cocotb benches of its component and of those around it, then the properties of `make formal`. Verdicts are
kept, so that a run goes on where it stopped; a survivor is tried again as soon as a bench or a property has changed.
"""

import json
import tomllib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from rich.progress import Progress

from twofold.golden.config import ArrayConfig
from twofold.hdl.emit import top_name
from twofold.mutation.equivalence import equivalent
from twofold.mutation.netlist import Mutant, Netlist, prepare
from twofold.mutation.properties import broken
from twofold.mutation.suite import HostTest, tasks
from twofold.sim import host, runner, settings, tools
from twofold.support.files import write_text
from twofold.support.once import key_of

#: Faults that nothing within the machine's contract can show, with the reason.
REASONS = Path(__file__).parent / "unreachable.toml"
KILLED, EQUIVALENT, UNREACHABLE, SURVIVED = "killed", "equivalent", "unreachable", "survived"


@dataclass(frozen=True)
class Verdict:
    """What became of a fault.

    Parameters
    ----------
    verdict
        `KILLED`, `EQUIVALENT` (proven), `UNREACHABLE` (argued) or `SURVIVED`.
    by
        Who found it, or why it is no fault.
    """

    verdict: str
    by: str


@dataclass
class Campaign:
    """The faults of one build.

    Parameters
    ----------
    config
        The build.
    folder
        Where its files lie.
    count, seed
        How many faults, and the seed of their choice and of all stimuli.
    """

    config: ArrayConfig
    folder: Path
    count: int
    seed: int
    netlist: Netlist = field(init=False)
    verdicts: dict[int, Verdict] = field(default_factory=dict)

    def run(self, progress: Progress) -> None:
        """Gives every fault a verdict.

        Raises
        ------
        RuntimeError
            If the machine without a fault does not do what it should.
        """
        bar = progress.add_task(f"{self.config.name}: building", total=self.count)
        self.netlist = prepare(self.config, self.folder, count=self.count, seed=self.seed)
        self._load()
        program = host.build(self.netlist.machine, top_name(self.config))
        wanted = list(tasks(self.config, seed=self.seed))
        for task in wanted:
            if not task.passes(program):
                raise RuntimeError(f"Machine without a fault must pass {task.name}")
        reasons = {entry["fault"]: entry["reason"] for entry in _reasons(self.config)}
        progress.update(bar, total=len(self.netlist.mutants), completed=len(self.verdicts))
        for stage, judge in (
            ("C++ host", lambda mutant: self._host(mutant, program, wanted)),
            ("proofs", self._proof),
            ("component benches", self._component_benches),
            ("properties", lambda mutant: None if str(mutant) in reasons else self._properties(mutant)),
        ):
            progress.update(bar, description=f"{self.config.name}: {stage}")
            for mutant in self.netlist.mutants:
                if mutant.number not in self.verdicts and (verdict := judge(mutant)) is not None:
                    self.verdicts[mutant.number] = verdict
                    self._save()
                    progress.advance(bar)
        for mutant in self.netlist.mutants:
            if mutant.number not in self.verdicts:
                reason = reasons.get(str(mutant))
                self.verdicts[mutant.number] = Verdict(UNREACHABLE, reason) if reason else Verdict(SURVIVED, "")
                progress.advance(bar)
        self._save()

    def _host(self, mutant: Mutant, program: Path, wanted: list[HostTest]) -> Verdict | None:
        chosen = [f"+mutant={mutant.number}"]
        return next(
            (Verdict(KILLED, f"host: {task.name}") for task in wanted if not task.passes(program, chosen)), None
        )

    def _proof(self, mutant: Mutant) -> Verdict | None:
        return Verdict(EQUIVALENT, "proven for every state and input") if equivalent(self.netlist, mutant) else None

    def _component_benches(self, mutant: Mutant) -> Verdict | None:
        for name in self.netlist.components_around(mutant):
            found = self._bench(name, mutant)
            if found is not None:
                return found
        return None

    def _bench(self, name: str, mutant: Mutant) -> Verdict | None:
        design = runner.build(self.netlist.component(name), f"twofold_{name}", simulator=_component_simulator())
        values = settings.write(self.config, seed=self.seed, networks=3, programs=5, damaged=200)
        results = runner.run(
            design, f"twofold.sim.bench_{name}", settings=values, seed=self.seed, plusargs=[f"+mutant={mutant.number}"]
        )
        failed = [result.test for result in results if not result.passed]
        return Verdict(KILLED, f"bench {name}: {failed[0]}") if failed else None

    def _properties(self, mutant: Mutant) -> Verdict | None:
        found = broken(self.netlist, mutant)
        return Verdict(KILLED, f"property {found}") if found else None

    @property
    def _key(self) -> str:
        return key_of(inputs=[self.netlist.machine, [str(mutant) for mutant in self.netlist.mutants]])

    def _save(self) -> None:
        table = {
            "netlist": self._key,
            "benches": _benches(),
            "verdicts": {number: [v.verdict, v.by] for number, v in sorted(self.verdicts.items())},
        }
        write_text(self.folder / "verdicts.json", json.dumps(table, indent=1) + "\n")

    def _load(self) -> None:
        path = self.folder / "verdicts.json"
        if not path.is_file():
            return
        table = json.loads(path.read_text(encoding="utf-8"))
        if table["netlist"] != self._key:
            return
        for number, (verdict, by) in table["verdicts"].items():
            final = verdict in (KILLED, EQUIVALENT)
            if final or (verdict == SURVIVED and table["benches"] == _benches() and not _reasons(self.config)):
                self.verdicts[int(number)] = Verdict(verdict, by)


@cache
def _component_simulator() -> str:
    """Icarus where it is installed: it builds in no time."""
    try:
        tools.find("icarus")
    except tools.ToolError:
        return "verilator"
    return "icarus"


def _benches() -> str:
    """Names everything that looks for faults."""
    root = Path(__file__).parent.parent
    benches = [f"twofold.sim.{path.stem}" for path in sorted((root / "sim").glob("bench_*.py"))]
    judges = [f"twofold.mutation.{name}" for name in ("suite", "equivalence", "properties")]
    return key_of(modules=[*judges, *benches], inputs=[root / "sim" / "harness.cpp", root / "formal" / "cut.v"])


def _reasons(config: ArrayConfig) -> list[dict[str, str]]:
    if not REASONS.is_file():
        return []
    table = tomllib.loads(REASONS.read_text(encoding="utf-8"))
    return [entry for entry in table.get("unreachable", []) if entry["build"] == config.name]


def summary(campaigns: list[Campaign], *, seed: int) -> dict[str, object]:
    """What the report says about the netlist."""
    rows = [(c.config.name, m, c.verdicts[m.number]) for c in campaigns for m in c.netlist.mutants]
    counts = Counter(verdict.verdict for _, _, verdict in rows)
    killed, equal = counts[KILLED], counts[EQUIVALENT] + counts[UNREACHABLE]
    parts: dict[str, Counter[str]] = {}
    for _, mutant, verdict in rows:
        parts.setdefault(mutant.component, Counter())[verdict.verdict] += 1
    return {
        "mutants": len(rows),
        "killed": killed,
        "equivalent": equal,
        "survived": counts[SURVIVED],
        "score": round(killed / max(1, len(rows) - equal), 4),
        "seed": seed,
        "builds": {c.config.name: f"{c.config.build_hash:08x}" for c in campaigns},
        "proven_equivalent": counts[EQUIVALENT],
        "unreachable": counts[UNREACHABLE],
        "killed_by": dict(Counter(v.by.split(":")[0] for _, _, v in rows if v.verdict == KILLED)),
        "components": {name: dict(part) for name, part in parts.items()},
        "killed_by_proofs": [
            {"build": build, "fault": str(mutant), "how": verdict.by}
            for build, mutant, verdict in rows
            if verdict.by.startswith("property ")
        ],
        "not_killed": [
            {"build": build, "fault": str(mutant), "verdict": verdict.verdict, "why": verdict.by}
            for build, mutant, verdict in rows
            if verdict.verdict != KILLED
        ],
    }


def campaigns(builds: Sequence[ArrayConfig], folder: Path, *, count: int, seed: int) -> Iterator[Campaign]:
    """One campaign a build, the faults shared evenly."""
    for number, config in enumerate(builds):
        share = count // len(builds) + (number < count % len(builds))
        yield Campaign(config, folder / config.name, share, seed)
