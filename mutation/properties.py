"""Whether `make formal` notices a fault: a property of the component that is proven, but no longer with the fault."""

from dataclasses import replace
from functools import cache

from formal.checker import Checker
from formal.properties import PROPERTIES
from formal.prover import Outcome, prepare, prove
from mutation.netlist import Mutant, Netlist


def broken(netlist: Netlist, mutant: Mutant) -> str | None:
    """Component and requirement of the first proof that the fault ends, or None.

    A proof is ended by a counterexample, to the requirement or to its induction; where the solver gives up, it is not.

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
                outcome = _prove(netlist, checker, mutant)
                found = [failed for failed in outcome.failed if failed not in outcome.undecided]
                if found:
                    _must_hold(netlist, checker.__name__)
                    return f"{name}: {checker.__name__}, {found[0]}"
    return None


def _prove(netlist: Netlist, checker: type[Checker], mutant: Mutant | None) -> Outcome:
    task = replace(prepare(checker, netlist.config), verilog=netlist.faulty(checker.component, mutant))
    return prove(task, checker.depth, netlist.folder / "properties")


@cache
def _must_hold(netlist: Netlist, name: str) -> None:
    (checker,) = [checker for checker in PROPERTIES if checker.__name__ == name]
    outcome = _prove(netlist, checker, None)
    if outcome.status != "proven":
        raise RuntimeError(f"{name} must hold without a fault, it does not: {', '.join(outcome.failed)}")
