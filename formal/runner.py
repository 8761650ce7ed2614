"""What there is to prove, and the proof of one property for one component."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from twofold.formal import builds, kept
from twofold.formal.checker import Checker
from twofold.formal.prover import prepare
from twofold.golden.config import ArrayConfig
from twofold.support.output import build_folder

OUTPUT = build_folder("formal")


@dataclass(frozen=True)
class Obligation:
    """A property of one component, for the builds that have the same component.

    Parameters
    ----------
    checker
        The property.
    config, formats
        A build that has it, and the names of all.
    """

    checker: type[Checker]
    config: ArrayConfig
    formats: tuple[str, ...]


@dataclass(frozen=True)
class ProofResult:
    """How a proof went for one build.

    Attributes
    ----------
    name, format
        The property, and the build or weight format.
    status
        ``proven``, ``refuted`` or ``unknown``; ``error`` where a tool failed.
    seconds
        Time of the proof; 0 where another build has the same component and checker.
    seeded_fault_caught
        Whether each of `faults` breaks the requirement that it should.
    requirements, faults
        How many.
    claim
        What is proven.
    message
        What is wrong, if something is.
    """

    name: str
    format: str
    status: str
    seconds: float
    seeded_fault_caught: bool
    requirements: int
    faults: int
    claim: str
    message: str

    @property
    def good(self) -> bool:
        """Proven, and able to fail."""
        return self.status == "proven" and self.seeded_fault_caught


def candidates(checker: type[Checker], *, short: bool = False) -> dict[str, ArrayConfig]:
    """The builds that have a property, by name."""
    sources = {
        "shipped": builds.on_chip,
        "formats": builds.shipped_and_formats,
        "selects": builds.selects,
        "outside": builds.outside,
    }
    return {
        name: config
        for name, config in sources[checker.builds]().items()
        if (name in checker.short or not short) and checker.applies(config)
    }


def obligations(checkers: Iterable[type[Checker]], *, short: bool = False) -> list[Obligation]:
    """What there is to prove; builds with the same component and checker once."""
    found = []
    for checker in checkers:
        same: dict[tuple[str, str], list[str]] = {}
        configs = candidates(checker, short=short)
        if len(configs) == 1:
            # With nothing that could be the same, there is no need to look.
            found.append(Obligation(checker, next(iter(configs.values())), tuple(configs)))
            continue
        for name, config in configs.items():
            task = prepare(checker, config, emitted=False)
            same.setdefault((task.verilog, task.rtlil), []).append(name)
        found += [Obligation(checker, configs[names[0]], tuple(names)) for names in same.values()]
    return found


def run(obligation: Obligation, folder: Path = OUTPUT) -> list[ProofResult]:
    """Prove a property and see that its faults are caught; what was found before in `folder` is not done again."""
    checker, known = obligation.checker, folder / "kept"
    folder = folder / re.sub(r"\W+", "_", f"{checker.__name__} {obligation.formats[0]}")
    claim = " ".join((checker.__doc__ or "").split())
    try:
        task = prepare(checker, obligation.config)
        outcome = kept.proof(task, checker.depth, folder, known)
        survivors = []
        for number, fault in enumerate(checker.faults):
            faulty = prepare(checker, replace(obligation.config, **checker.fault_build), fault)
            if not kept.caught(faulty, fault.breaks, checker.fault_depth, folder / f"fault{number}", known):
                survivors.append(fault.breaks)
        message = f"not proven: {', '.join(outcome.failed)}" if outcome.failed else ""
        message += f"{'; ' if message else ''}faults not caught: {', '.join(survivors)}" if survivors else ""
        status, seconds, count = outcome.status, outcome.seconds, len(task.requirements)
    except (OSError, RuntimeError, TypeError, ValueError, NameError) as error:
        status, seconds, count, survivors, message = "error", 0.0, 0, ["all"], str(error)
    return [
        ProofResult(
            name=checker.name,
            format=name,
            status=status,
            seconds=round(seconds, 2) if name == obligation.formats[0] else 0.0,
            seeded_fault_caught=not survivors,
            requirements=count,
            faults=len(checker.faults),
            claim=claim,
            message=message,
        )
        for name in obligation.formats
    ]
