"""Faults in the netlist: they are where they are said to be, one at a time, and proofs tell which change nothing."""

import shutil
from collections import Counter
from dataclasses import replace
from functools import cache

import pytest

from twofold.formal.properties import PROPERTIES
from twofold.mutation import netlist as module
from twofold.mutation.builds import BUILDS
from twofold.mutation.equivalence import equivalent
from twofold.mutation.isomorphism import match_cells
from twofold.mutation.netlist import TOP, draw, prepare
from twofold.mutation.properties import _must_hold, broken
from twofold.sim import runner, settings, tools

LOG = BUILDS[0]


@pytest.fixture(scope="module", autouse=True)
def emitted_once():
    """The texts are the same whatever is drawn, and writing them takes most of the time."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("emit", "emit_component"):
            patch.setattr(module, name, cache(getattr(module, name)))
        yield


@pytest.fixture(scope="module")
def netlist():
    # Yosys sees a temporary folder of its own in the place of the system's.
    return prepare(LOG, tools.BUILD / "mutation" / "test", count=52, seed=7)


def test_faults_are_spread_over_all_components(netlist):
    found = Counter(mutant.component for mutant in netlist.mutants)
    assert set(found) >= {
        "pe",
        "column",
        "operands",
        "window",
        "accumulators",
        "requantiser",
        "sequencer",
        "loader",
        TOP,
    }
    assert max(found.values()) - min(found.values()) <= 1
    assert [mutant.number for mutant in netlist.mutants] == list(range(1, 53))
    assert not any(mutant.port.endswith("CLK") for mutant in netlist.mutants)


def test_the_seed_decides(netlist, tmp_path):
    folder = tmp_path / "again"
    shutil.copytree(netlist.folder, folder)
    assert draw(LOG, folder, count=52, seed=7).mutants == netlist.mutants
    assert draw(LOG, folder, count=52, seed=8).mutants != netlist.mutants


def test_a_fault_in_a_component_is_the_same_cell_by_itself_and_in_those_around_it(netlist):
    mutant = next(mutant for mutant in netlist.mutants if mutant.component == "pe")
    assert netlist.components_around(mutant) == ["pe", "column", "array", "compute"]
    kind = mutant.kind.removeprefix("$")
    assert netlist.cell_in("pe", mutant).startswith(f"${kind}") or netlist.cell_in("pe", mutant).startswith("$proc")
    inner = netlist.cell_in("array", mutant)
    assert "column" in inner and "pe" in inner


def test_a_selected_fault_is_found_and_none_is_without_it(netlist):
    try:
        tools.find("icarus")
    except tools.ToolError:
        pytest.skip("Icarus Verilog is not installed")
    design = runner.build(netlist.component("operands"), "twofold_operands", simulator="icarus")
    values = settings.write(LOG, seed=1)
    verdicts = {}
    for mutant in netlist.mutants:
        if mutant.component == "operands" and mutant.mode == "inv":
            chosen = [f"+mutant={mutant.number}"]
            results = runner.run(design, "twofold.sim.bench_operands", settings=values, plusargs=chosen)
            verdicts[mutant.number] = all(result.passed for result in results)
    plain = runner.run(design, "twofold.sim.bench_operands", settings=values)
    assert [result.message for result in plain] == [""] * len(plain)
    assert verdicts and not any(verdicts.values())


def test_only_faults_that_change_nothing_are_proven_equivalent(netlist):
    mutant = next(m for m in netlist.mutants if m.component == "operands" and m.mode == "inv")
    assert not equivalent(netlist, mutant)
    same = {"const0": "0", "const1": "1"}
    # A constant bit set to its own value is no fault; `prepare` leaves those out, a proof must say so, too.
    cells = netlist._design("machine")[netlist._modules["window"]]["cells"]
    flat = {m.cell: m for m in netlist.mutants if m.component == "window"}
    for name, cell in cells.items():
        for port, bits in cell["connections"].items():
            for mode, bit in same.items():
                if bit in bits and cell["type"].startswith("$"):
                    some = next(iter(flat.values()))
                    place = f"$flatten\\compute.\\window.{name}" if name.startswith("$") else f"compute.window.{name}"
                    fault = replace(
                        some, mode=mode, cell=place, port=port, bit=bits.index(bit), other=None, kind=cell["type"]
                    )
                    assert equivalent(netlist, fault)
                    return
    pytest.fail("No cell with a constant bit")


def test_a_property_of_the_component_sees_a_fault_and_none_without(netlist):
    # Too high a bit for any simulation: what counts the cycles of an inference.
    table = netlist._design("machine")[netlist._modules["sequencer"]]
    bits = table["netnames"]["inference__cycles"]["bits"]
    (counter,) = (name for name, cell in table["cells"].items() if cell["connections"].get("Q") == bits)
    some = next(m for m in netlist.mutants if m.component == "sequencer")
    place = f"$flatten\\sequencer.{counter}"
    fault = replace(some, mode="const0", cell=place, port="D", bit=30, other=None, kind="$dff")
    assert broken(netlist, fault) == "sequencer: SequencerTiming, cycles: induction"
    for checker in PROPERTIES:
        if checker.component == "sequencer" and checker.applies(netlist.config):
            _must_hold(netlist, checker.__name__)


def _module(**cells):
    return {
        "cells": {name: {"type": kind, "parameters": {}, "connections": nets} for name, (kind, nets) in cells.items()}
    }


def test_cells_are_matched_whatever_they_are_called():
    first = _module(a=("$and", {"A": [1], "B": [2], "Y": [3]}), b=("$or", {"A": [3], "B": [2], "Y": [4]}))
    second = _module(y=("$or", {"A": [7], "B": [8], "Y": [9]}), x=("$and", {"A": [6], "B": [8], "Y": [7]}))
    assert match_cells(first, second) == {"a": "x", "b": "y"}
    other = _module(y=("$or", {"A": [7], "B": [6], "Y": [9]}), x=("$and", {"A": [6], "B": [8], "Y": [7]}))
    assert match_cells(first, other) is None
