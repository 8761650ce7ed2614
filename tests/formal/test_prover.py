"""The prover proves nothing that does not hold."""

from types import SimpleNamespace
from unittest import mock

import pytest
from amaranth import Signal

from twofold.formal import builds, kept
from twofold.formal.__main__ import main
from twofold.formal.checker import Checker
from twofold.formal.faults import Fault
from twofold.formal.properties import PROPERTIES
from twofold.formal.prover import prepare
from twofold.formal.runner import Obligation, obligations, run
from twofold.formal.solver import prove, refute
from twofold.golden.config import load_config
from twofold.hdl import emit

CONFIG = load_config("configs/log_4x4.toml")


class Registered(Checker):
    """Operands stand one cycle later."""

    name = "test"
    component = "operands"
    faults = (Fault("operands", "Mux(self.live[row], line, offset)", "line", "zero"),)

    def specify(self, m):
        idle = self.past(m, (self.dut.live == 0) & ~self.dut.is_signed, "idle")
        self.require(zero=~(self.running & idle) | (self.dut.operands.as_value() == 0))


class Wrong(Registered):
    def specify(self, m):
        self.require(zero=~self.running | (self.dut.operands.as_value() == 0))


class Late(Registered):
    """True, since the count begins at 0, but the cycle before does not say so."""

    def specify(self, m):
        count = Signal(4)
        with m.If(count != 9):
            m.d.sync += count.eq(count + 2)
        with m.If(count == 8):
            m.d.sync += count.eq(0)
        self.require(zero=count != 5)


class Peeks(Registered):
    def specify(self, m):
        self.require(zero=self.peek("nowhere") == 0)


class Impossible(Wrong):
    """Nothing is legal."""

    def specify(self, m):
        super().specify(m)
        self.assume(self.dut.chain & ~self.dut.chain)


def test_what_holds_is_proven(tmp_path):
    outcome = prove(prepare(Registered, CONFIG), 1, tmp_path)
    assert (outcome.status, outcome.failed) == ("proven", ())


def test_what_does_not_hold_is_refuted_with_a_trace(tmp_path):
    outcome = prove(prepare(Wrong, CONFIG), 3, tmp_path)
    assert (outcome.status, outcome.failed) == ("refuted", ("ok",))
    assert "dut.operands" in (tmp_path / "trace.txt").read_text()


def test_what_needs_an_invariant_is_not_proven_without(tmp_path):
    outcome = prove(prepare(Late, CONFIG), 1, tmp_path)
    assert (outcome.status, outcome.failed) == ("unknown", ("zero",))


def test_requirements_are_asked_about_together_and_one_by_one_where_that_fails(tmp_path):
    class Twice(Registered):
        def specify(self, m):
            super().specify(m)
            self.require(same=self.dut.operands.as_value() == self.dut.operands.as_value())

    class LateAndTwice(Late):
        def specify(self, m):
            super().specify(m)
            self.require(same=self.dut.operands.as_value() == self.dut.operands.as_value())

    for checker, failed in ((Twice, ()), (LateAndTwice, ("zero",))):
        assert prove(prepare(checker, CONFIG), 1, tmp_path).failed == failed
        asked = (tmp_path / "times.txt").read_text()
        assert ("require_zero require_same" in asked, len(asked.splitlines())) == (True, 5 if failed else 3)


def test_assumptions_that_nothing_meets_are_noticed(tmp_path):
    with pytest.raises(RuntimeError, match=r"^Assumptions must leave a trace of 2 cycles, but none is legal$"):
        prove(prepare(Impossible, CONFIG), 1, tmp_path)


def test_a_signal_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(RuntimeError, match=r"Yosys must end well.*dut\.nowhere"):
        prove(prepare(Peeks, CONFIG), 1, tmp_path)


def test_a_fault_is_caught_and_leaves_the_component_as_it_was(tmp_path):
    before = emit.emit_component("operands", CONFIG)
    faulty = prepare(Registered, CONFIG, Registered.faults[0])
    assert refute(faulty, "zero", 3, tmp_path).status == "refuted"
    assert refute(prepare(Registered, CONFIG), "zero", 3, tmp_path).status == "unknown"
    assert emit.emit_component("operands", CONFIG) == before


def test_a_memory_that_is_left_out_gives_anything(tmp_path):
    """So a proof must say what it holds."""
    checker = _checker("AccumulatorUpdates")

    class Unheld(checker):
        def assume(self, condition):
            """Nothing, neither of the memories nor of the tags."""

    refuted = prove(prepare(Unheld, CONFIG), 1, tmp_path)
    assert refuted.status == "unknown"
    assert "old" in refuted.failed and "takes" not in refuted.failed


def test_what_is_proven_is_kept_and_what_is_not_is_asked_again(tmp_path):
    good, wrong = prepare(Registered, CONFIG), prepare(Wrong, CONFIG)
    assert kept.proof(good, 1, tmp_path / "good", tmp_path).status == "proven"
    assert kept.proof(wrong, 1, tmp_path / "wrong", tmp_path).status != "proven"
    with mock.patch.object(kept, "prove", side_effect=AssertionError("asked")):
        assert kept.proof(good, 1, tmp_path, tmp_path).status == "proven"
        for task, depth in ((good, 2), (wrong, 1), (prepare(Registered, CONFIG, Registered.faults[0]), 1)):
            with pytest.raises(AssertionError, match="asked"):
                kept.proof(task, depth, tmp_path, tmp_path)


def test_a_fault_that_survives_is_an_error(tmp_path):
    class Harmless(Registered):
        faults = (Fault("operands", "layout = operands_layout(", "layout  = operands_layout(", "zero"),)

    (result,) = run(Obligation(Harmless, CONFIG, ("log_4x4",)), tmp_path)
    assert (result.status, result.seeded_fault_caught, result.good) == ("proven", False, False)
    assert result.message == "faults not caught: zero"


def test_a_fault_whose_place_is_gone_is_an_error(tmp_path):
    class Gone(Registered):
        faults = (Fault("operands", "no such text", "", "zero"),)

    (result,) = run(Obligation(Gone, CONFIG, ("log_4x4",)), tmp_path)
    assert result.message == "Fault's text must be in hdl/operands.py once, not 0 times: 'no such text'"
    assert not result.good


def test_a_fault_reaches_components_inside():
    fault = _checker("Product").faults[0]
    assert fault.file == "pe"
    good, bad = (prepare(_checker("ColumnSum"), CONFIG, f).verilog for f in (None, fault))
    assert good != bad


def test_a_property_of_one_build_is_listed_without_making_it(monkeypatch):
    monkeypatch.setattr("twofold.formal.runner.prepare", mock.Mock(side_effect=AssertionError("made")))
    checkers = [checker for checker in PROPERTIES if len(checker.short) == 1]
    found = [(one.checker, one.formats) for one in obligations(checkers, short=True)]
    assert found == [(checker, checker.short) for checker in checkers]


def test_every_shipped_build_is_covered(monkeypatch):
    """Large builds are not written out here: `make formal` does it, for minutes."""

    def light(checker, config, **options):
        if config == CONFIG:
            return prepare(checker, config, **options)
        return SimpleNamespace(verilog=repr(config), rtlil="")

    monkeypatch.setattr("twofold.formal.runner.prepare", light)
    for checker in PROPERTIES:
        configs = builds.outside() if checker.builds == "outside" else builds.shipped()
        configs |= builds.tabled() if checker.builds == "shipped" else {}
        expected = {name for name, config in configs.items() if checker.applies(config)}
        found = {name for obligation in obligations([checker]) for name in obligation.formats}
        assert expected and expected <= found, checker


def test_every_format_is_covered():
    names = {name for obligation in obligations([_checker("Product")]) for name in obligation.formats}
    assert len(builds.formats()) == 8 + 15
    assert {*builds.formats(), *(f"{name}, and_or" for name in builds.formats())} <= names


def test_names_are_checked(capsys):
    with pytest.raises(SystemExit):
        main(["Nothing"])
    assert "Property must be one of ('RequantProduct', " in capsys.readouterr().err


def _checker(name):
    (found,) = [checker for checker in PROPERTIES if checker.__name__ == name]
    return found
