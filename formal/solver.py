"""Answers questions about a checker with Yosys and Bitwuzla: by induction over registers, for every input."""

import re
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import bitwuzla

from twofold.synth.yosys import run_yosys

#: Name of the checker's module, and of the component's instance in it.
TOP, INSTANCE = "check", "dut"
#: Longest that the solver may take for one question (s).
TIME_LIMIT = 120
#: Longest for a question about several requirements at once, which are then asked about one by one (s).
TOGETHER_LIMIT = 20
#: What stands in the place of memories that are left out.
CUT = Path(__file__).with_name("cut.v")


@dataclass(frozen=True)
class Task:
    """A component and a checker around it, as text.

    Attributes
    ----------
    verilog, rtlil
        The component as emitted, and the checker.
    peeks
        Signals of the component that the checker reads: the checker's name and the component's.
    requirements
        Names of what must hold, each with those that its proof uses of the cycles before, and of the same cycle.
    cut
        Whether memories are left out, so that they give anything: the checker says what they must give.
    """

    verilog: str
    rtlil: str
    peeks: tuple[tuple[str, str], ...]
    requirements: dict[str, tuple[tuple[str, ...], tuple[str, ...]]]
    cut: bool = False


def to_smt(task: Task, folder: Path) -> str:
    """Yosys' SMT-LIB text of a task; the folder keeps the task and Yosys' log.

    Registers have no initial values: the proof begins with a reset.

    Raises
    ------
    RuntimeError
        If Yosys fails.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dut.v").write_text(task.verilog, encoding="utf-8")
    (folder / "check.il").write_text(task.rtlil, encoding="utf-8")
    peeks = " ".join(
        f"delete -input w:{name}; connect -nounset -set {name} {INSTANCE}.{inner};" for name, inner in task.peeks
    )
    cut = ""
    if task.cut:
        shutil.copy(CUT, folder)
        cut = "memory_collect; techmap -map cut.v;"
    script = (
        f"read_verilog dut.v; read_rtlil check.il; hierarchy -check -top {TOP}; proc -norom; flatten; "
        f"{cut} cd {TOP}; {peeks} cd ..; memory_map; setattr -unset init w:*; "
        "opt_expr; opt_merge; opt_clean; write_smt2 -wires -stbv check.smt2"
    )
    run_yosys(script, folder)
    return (folder / "check.smt2").read_text(encoding="utf-8")


@dataclass(frozen=True)
class Answer:
    """How a proof ended.

    Attributes
    ----------
    status
        ``proven``, ``refuted`` (there is a trace from reset) or ``unknown``.
    failed
        The requirements that are not proven.
    seconds
        Wall-clock time.
    undecided
        Those of them that the solver gave up on: no counterexample was found.
    """

    status: str
    failed: tuple[str, ...]
    seconds: float
    undecided: tuple[str, ...] = ()


def prove(task: Task, depth: int, folder: Path) -> Answer:
    """Prove every requirement for ever after reset: it holds in the first `depth` cycles, and then one cycle longer."""
    started = time.monotonic()
    questions = _Questions(to_smt(task, folder), folder)
    if questions.ask(depth + 1, ["never"], trace=False) != "sat":
        raise RuntimeError(f"Assumptions must leave a trace of {depth + 1} cycles, but none is legal")
    for cycle in range(1, depth + 1):
        answer = questions.ask(cycle, ["ok"])
        if answer != "unsat":
            status = "refuted" if answer == "sat" else "unknown"
            return Answer(status, ("ok",), time.monotonic() - started, () if answer == "sat" else ("ok",))
    answers: dict[str, str] = {}
    for names in _together(task.requirements):
        used = task.requirements[names[0]]
        flags = [f"require_{name}" for name in names]
        if len(names) == 1 or questions.ask(depth, flags, used, trace=False, limit=TOGETHER_LIMIT) != "unsat":
            answers |= {name: questions.ask(depth, [f"require_{name}"], task.requirements[name]) for name in names}
    failed = tuple(name for name in task.requirements if answers.get(name, "unsat") != "unsat")
    undecided = tuple(name for name in failed if answers[name] != "sat")
    return Answer("unknown" if failed else "proven", failed, time.monotonic() - started, undecided)


def _together(requirements: dict[str, tuple[tuple[str, ...], tuple[str, ...]]]) -> list[list[str]]:
    """Requirements whose proofs use the same ones of the cycles before, each list in their order.

    What the first of a list uses of the same cycle the others use as well, and each other what stands before it: all
    are proven one by one if, and only if, no trace breaks any of them where what the first uses holds.
    """
    same: dict[frozenset[str], list[str]] = {}
    for name, (before, _) in requirements.items():
        same.setdefault(frozenset(before), []).append(name)
    return list(same.values())


def refute(task: Task, requirement: str, depth: int, folder: Path) -> Answer:
    """Look for a trace of at most `depth` cycles from reset that breaks one requirement."""
    started = time.monotonic()
    questions = _Questions(to_smt(task, folder), folder)
    answer = questions.ask(depth, [f"require_{requirement}"], anywhere=True, trace=False)
    return Answer("refuted" if answer == "sat" else "unknown", (requirement,), time.monotonic() - started)


class _Questions:
    """Asks the solver for traces of a transition system."""

    def __init__(self, system: str, folder: Path) -> None:
        self.system = system
        (folder / "times.txt").write_text("", encoding="utf-8")
        self.folder = folder

    def ask(
        self,
        last: int,
        names: Sequence[str],
        used: tuple[tuple[str, ...], tuple[str, ...]] | None = None,
        *,
        anywhere: bool = False,
        trace: bool = True,
        limit: float = TIME_LIMIT,
    ) -> str:
        """Whether a flag can be 0 in cycle `last`, or in any up to it: ``sat``, ``unsat`` or ``unknown``.

        From reset, which is cycle 0; or begun anywhere, with requirements that hold in the cycles before, and others
        that hold in the last one, too. A trace takes as long to write as to find: not where it is wanted to exist.
        """
        lines = ["(set-logic QF_BV)", self.system]
        for cycle in range(last + 1):
            state = f"s{cycle}"
            lines.append(f"(declare-const {state} |{TOP}_s|)")
            lines += [f"(assert (|{TOP}_{part}| {state}))" for part in ("h", "u", "n legal")]
            if cycle:
                lines.append(f"(assert (|{TOP}_t| s{cycle - 1} {state}))")
        if used is None:
            lines.append(f"(assert (not (|{TOP}_n started| s0)))")
        else:
            before, same = used
            for cycle in range(last + 1):
                holding = same if cycle == last else before
                lines += [f"(assert (|{TOP}_n require_{holds}| s{cycle}))" for holds in holding]
        cycles = range(1 if anywhere else last, last + 1)
        flags = " ".join(f"(|{TOP}_n {name}| s{cycle})" for cycle in cycles for name in names)
        lines.append(f"(assert (not (and true {flags})))")
        options = bitwuzla.Options()
        options.set(bitwuzla.Option.PRODUCE_MODELS, trace)
        options.set(bitwuzla.Option.TIME_LIMIT_PER, int(limit * 1000))
        parser = bitwuzla.Parser(bitwuzla.TermManager(), options)
        parser.parse("\n".join(lines), True, False)
        solver = parser.bitwuzla()
        began = time.monotonic()
        answer = str(solver.check_sat())
        with (self.folder / "times.txt").open("a", encoding="utf-8") as file:
            file.write(f"{last:3} {' '.join(names):40} {answer:8} {time.monotonic() - began:8.2f} s\n")
        if answer == "sat" and trace:
            self._write_trace(parser, solver, last)
        return answer

    def _write_trace(self, parser: bitwuzla.Parser, solver: bitwuzla.Bitwuzla, last: int) -> None:
        """The trace as a table, one row a signal, one column a cycle."""
        names = sorted(set(re.findall(r"^; yosys-smt2-wire (\S+) \d+$", self.system, re.MULTILINE)))
        rows = []
        for name in names:
            terms = (parser.parse_term(f"(|{TOP}_n {name}| s{cycle})") for cycle in range(last + 1))
            values = [str(solver.get_value(term)) for term in terms]
            short = [{"true": "1", "false": "0"}.get(v) or f"{int(v.removeprefix('#b'), 2):x}" for v in values]
            rows.append(f"{name:40} {' '.join(f'{value:>8}' for value in short)}\n")
        (self.folder / "trace.txt").write_text("".join(rows), encoding="utf-8")
