"""Every component's bench on the smallest builds; Icarus where it is installed, since it builds in no time."""

from dataclasses import replace

import pytest

from twofold.golden.config import load_config
from twofold.hdl.emit import COMPONENTS, OUTSIDE, TABLES, components, emit, emit_component, top_name
from twofold.sim import runner, settings, tools
from twofold.sim.__main__ import bench_names
from twofold.sim.jobs import MACHINE_BENCHES
from twofold.sim.jobs import OUTSIDE as OUTSIDE_SIZES
from twofold.sim.jobs import TABLES as TABLE_SIZES

#: In Icarus it takes longer than in Verilator with the compiler: the other build's goes through Icarus.
SLOW = ("loader", "subset_4x4")


def simulator():
    try:
        tools.find("icarus")
    except tools.ToolError:
        return "verilator"
    return "icarus"


@pytest.mark.parametrize("build", ["log_4x4", "subset_4x4"])
@pytest.mark.parametrize("name", components(load_config("log_4x4")))
def test_component_bench(name, build):
    passes(name, load_config(build), "verilator" if (name, build) == SLOW else simulator())


@pytest.mark.parametrize("build", ["log_4x4", "subset_4x4"])
@pytest.mark.parametrize("sizes", [TABLE_SIZES, {"tables": 3, "table_bits": 5}], ids=str)
@pytest.mark.parametrize("name", TABLES)
def test_bench_of_what_builds_with_tables_have_on_top(name, sizes, build):
    passes(name, replace(load_config(build), **sizes))


@pytest.mark.parametrize(("name", "build"), [("operands", "subset_4x4"), ("compute", "log_4x4")])
def test_bench_of_what_builds_with_narrow_reads_have_on_top(name, build):
    passes(name, replace(load_config(build), narrow_reads=True), simulator())


@pytest.mark.parametrize("name", OUTSIDE)
def test_bench_of_what_moves_lines_to_and_from_outside(name):
    passes(name, replace(load_config("subset_8x8"), memory="axi4", bus_bits=32))


@pytest.mark.parametrize("name", ["sequencer", "control"])
def test_bench_of_what_builds_with_a_memory_outside_have_on_top(name):
    passes(name, replace(load_config("log_4x4"), memory="axi4", bus_bits=32, program_depth=32))


def test_bench_of_a_machine_with_a_memory_outside():
    config = replace(load_config("log_4x4"), **OUTSIDE_SIZES)
    design = runner.build(emit(config), top_name(config), simulator=simulator())
    results = runner.run(design, "twofold.sim.bench_outside", settings=settings.write(config, seed=2), unknown=True)
    assert len(results) == 3
    assert {result.test: result.message for result in results if not result.passed} == {}


def passes(name, config, tool=None):
    design = runner.build(emit_component(name, config), f"twofold_{name}", simulator=tool or simulator())
    results = runner.run(design, f"twofold.sim.bench_{name}", settings=settings.write(config, seed=2, damaged=100))
    assert {result.test: result.message for result in results if not result.passed} == {}


def test_every_component_has_a_bench():
    assert set(bench_names()) == {*COMPONENTS, *MACHINE_BENCHES}
