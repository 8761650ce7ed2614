"""The runner on a design of ten lines: what fails must be seen to fail."""

import json
import os
import re
import subprocess
import sys

import pytest

from twofold.sim import runner, tools

COUNTER = """
module stepper(input clk, output reg [3:0] step);
  initial step = 0;
  always @(posedge clk) step <= step + 1;
endmodule
module counter(input clk, output [3:0] q);
  stepper inner(.clk(clk), .step(q));
endmodule
"""
BENCH = """
import cocotb
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge, ReadOnly

async def after(dut, edges):
    Clock(dut.clk, 10, unit="ns").start()
    for _ in range(edges):
        await RisingEdge(dut.clk)
    await ReadOnly()
    return int(dut.q.value)

@cocotb.test(timeout_time=1, timeout_unit="us")
async def right(dut):
    assert await after(dut, 5) == 5

@cocotb.test(timeout_time=1, timeout_unit="us")
async def wrong(dut):
    assert await after(dut, 1) == 99, "q is not 99"

@cocotb.test(timeout_time=100, timeout_unit="ns")
async def endless(dut):
    await after(dut, 1000)
"""


def installed():
    """Verilator must be there; Icarus may be."""
    try:
        tools.find("icarus")
    except tools.ToolError:
        return ["verilator"]
    return ["verilator", "icarus"]


@pytest.fixture
def bench(tmp_path, monkeypatch):
    def write(text):
        (tmp_path / "bench_counter.py").write_text(text)
        return "bench_counter"

    monkeypatch.syspath_prepend(tmp_path)
    return write


@pytest.mark.parametrize("simulator", installed())
def test_failures_and_cycles_are_reported(bench, simulator):
    design = runner.build(COUNTER, "counter", simulator=simulator)
    results = runner.run(design, bench(BENCH), settings={})
    assert [(result.test, result.passed) for result in results] == [
        ("right", True),
        ("wrong", False),
        ("endless", False),
    ]
    assert "q is not 99" in results[1].message
    assert results[0].bench == "bench_counter"
    assert 4 <= results[0].cycles <= 5
    assert 9 <= results[2].cycles <= 10


def test_a_bench_that_cannot_be_imported_fails(bench):
    design = runner.build(COUNTER, "counter")
    results = runner.run(design, bench("import nothing_of_that_name"), settings={})
    assert [result.passed for result in results] == [False]
    assert "no test ran" in results[0].message


def test_a_simulator_that_dies_fails(bench):
    design = runner.build(COUNTER, "counter")
    results = runner.run(
        design, bench(BENCH.replace("assert await after(dut, 5) == 5", "import os; os._exit(0)")), settings={}
    )
    assert [result.passed for result in results] == [False]


def test_the_same_text_is_built_once():
    first = runner.build(COUNTER, "counter")
    stamp = (first.folder / "counter.v").stat().st_mtime_ns
    assert runner.build(COUNTER, "counter") == first
    assert (first.folder / "counter.v").stat().st_mtime_ns == stamp
    assert runner.build(COUNTER + "// changed\n", "counter", simulator="verilator").folder != first.folder


def test_wrong_verilog_is_one_error():
    with pytest.raises(tools.ToolError, match=r"must build counter, see .*build\.log") as caught:
        runner.build(COUNTER.replace("posedge", "posedgy"), "counter")
    log = str(caught.value).partition(", see ")[2].partition(":\n")[0]
    assert "posedgy" in runner.Path(log).read_text()


@pytest.mark.parametrize("simulator", installed())
def test_waveforms_are_written(bench, simulator):
    design = runner.build(COUNTER, "counter", simulator=simulator, waves=True)
    results = runner.run(design, bench(BENCH), settings={}, tests="right")
    assert [(result.test, result.passed) for result in results] == [("right", True)]
    assert results[0].waves
    waves = runner.Path(results[0].waves)
    assert waves.stat().st_size > 100
    # Signals inside are recorded, though benches see the ports only.
    assert waves.suffix == ".fst" or re.search(r"module inner .*?\bstep\b", waves.read_text(), re.DOTALL)


def test_the_report_says_whether_all_passed(tmp_path):
    path = tmp_path / "report.json"
    runner.report([runner.BenchResult("a", "b", True, 3, 0.5)], path, simulator="x")
    assert json.loads(path.read_text())["passed"] is True
    runner.report(
        [runner.BenchResult("a", "b", True, 3, 0.5), runner.BenchResult("a", "c", False, 4, 0.5, "why")], path
    )
    table = json.loads(path.read_text())
    assert table["passed"] is False
    assert table["benches"][1] == {
        "bench": "a",
        "test": "c",
        "passed": False,
        "cycles": 4,
        "seconds": 0.5,
        "message": "why",
        "waves": "",
        "coverage": "",
    }


def test_every_process_has_a_run_folder_and_dead_ones_leave_none(tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "OUTPUT", tmp_path)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    left, used = tmp_path / "runs" / f"x.{ended.pid}", tmp_path / "runs" / f"x.{os.getppid()}"
    for folder in (left, used):
        folder.mkdir(parents=True)
        (folder / "results.xml").write_text("there")
    mine = runner._run_folder("x")
    (mine / "results.xml").write_text("old")
    assert runner._run_folder("x") == mine
    assert not list(mine.iterdir())
    assert not left.exists()
    assert (used / "results.xml").read_text() == "there"
