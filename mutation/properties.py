"""Whether `make formal` notices a fault: a property of the component that is proven, but no longer with the fault."""

from dataclasses import replace
from functools import cache

from twofold.formal.checker import Checker
from twofold.formal.properties import PROPERTIES
from twofold.formal.prover import prepare
from twofold.formal.solver import Answer, Task, prove, refute
from twofold.mutation.netlist import Mutant, Netlist


def broken(netlist: Netlist, mutant: Mutant) -> str | None:
    """Component and requirement of the first proof that the fault ends, or None.

    A proof is ended by a counterexample: a trace from reset, or, where that would be too long, one to the induction.
    Where the solver gives up, it is not.

    Parameters
    ----------
    netlist
        The machine and its faults.
    mutant
        One of them.

    Raises
    ------
    RuntimeError
        If the property is not proven without the fault, either.
    """
    for name in netlist.components_around(mutant):
        for checker in PROPERTIES:
            if checker.component == name and checker.applies(netlist.config):
                task = _task(netlist, checker, mutant)
                outcome = prove(task, checker.depth, netlist.folder / "properties")
                found = [failed for failed in outcome.failed if failed not in outcome.undecided]
                if found:
                    _must_hold(netlist, checker.__name__)
                    return f"{name}: {checker.__name__}, {_worst(netlist, checker, task, found)}"
    return None


def _worst(netlist: Netlist, checker: type[Checker], task: Task, found: list[str]) -> str:
    """A requirement that a trace from reset breaks, if there is one, and how it is broken.

    What is required of outputs stands after what is required of the registers behind them.
    """
    if found == ["ok"]:
        return "trace"
    for name in reversed(found):
        if refute(task, name, checker.fault_depth, netlist.folder / "properties").status == "refuted":
            return f"{name}: trace"
    return f"{found[0]}: induction"


def _task(netlist: Netlist, checker: type[Checker], mutant: Mutant | None) -> Task:
    return replace(prepare(checker, netlist.config), verilog=netlist.faulty(checker.component, mutant))


@cache
def _must_hold(netlist: Netlist, name: str) -> None:
    (checker,) = [checker for checker in PROPERTIES if checker.__name__ == name]
    outcome: Answer = prove(_task(netlist, checker, None), checker.depth, netlist.folder / "properties")
    if outcome.status != "proven":
        raise RuntimeError(f"{name} must hold without a fault, it does not: {', '.join(outcome.failed)}")
