"""The emitted Verilog: deterministic, readable, clean in three tools' eyes, made without torch."""

import gc
import re
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from amaranth import Module
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator

from twofold.golden.config import ArrayConfig
from twofold.hdl.__main__ import main
from twofold.hdl.copies import copies
from twofold.hdl.emit import COMPONENTS, components, emit, emit_component, emit_verilog, share_modules
from twofold.hdl.rtlil import uncollected
from twofold.sim.tools import find

LOG = ArrayConfig(name="small_log", pe="log", rows=4, cols=4, word_bits=3)
SUBSET = ArrayConfig(name="small_subset", pe="subset", rows=2, cols=4, word_bits=4, requant_units=2)
BUILDS = pytest.mark.parametrize("config", [LOG, SUBSET], ids=lambda config: config.name)


@BUILDS
def test_same_build_gives_same_bytes_in_another_process(config):
    script = (
        "import sys; from twofold.golden.config import ArrayConfig; from twofold.hdl.emit import emit;"
        f"sys.stdout.write(emit({config!r})); assert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    )
    other = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert other.stdout == emit(config)


@BUILDS
def test_each_kind_of_module_is_written_once(config):
    modules = re.findall(r"^module (\S+?)\(", emit(config), re.MULTILINE)
    assert modules[0] == f"twofold_{config.name}"
    assert len(set(modules)) == len(modules)
    assert modules.count(f"twofold_{config.name}_pe") == 1
    assert emit(config).count(f"twofold_{config.name}_pe ") == config.rows  # one column, its rows


@BUILDS
def test_memories_are_declared_and_not_filled(config):
    verilog = emit(config)
    for memory in ("feature_memory", "weight_memory", "channel_memory", "program_memory", "bank0", "bank1"):
        assert re.search(rf"^  reg \[\d+:0\] {memory} \[\d+:0\];$", verilog, re.MULTILINE)
        assert f"{memory}[0] =" not in verilog


def test_equal_components_are_elaborated_once_and_each_has_its_own_wires():
    elaborated = []

    class Inverter(wiring.Component):
        taken: In(4)
        given: Out(4)

        def elaborate(self, platform):
            elaborated.append(self)
            m = Module()
            m.d.comb += self.given.eq(~self.taken)
            return m

    class Pair(wiring.Component):
        low: In(4)
        high: In(4)
        sum: Out(5)

        def elaborate(self, platform):
            m = Module()
            m.submodules.one, m.submodules.other = low, high = copies("inverter", Inverter, 2)
            m.d.comb += [low.taken.eq(self.low), high.taken.eq(self.high), self.sum.eq(low.given + high.given)]
            return m

    verilog = emit_verilog(Pair(), "pair")
    assert len(elaborated) == 1
    assert re.findall(r"^module (\S+)\(", verilog, re.MULTILINE) == ["pair", "pair_inverter"]
    instances = re.findall(r"^  pair_inverter (\w+) \((.*?)\);", verilog, re.MULTILINE | re.DOTALL)
    assert [(name, re.search(r"\.taken\((\w+)\)", ports)[1]) for name, ports in instances] == [
        ("one", "low"),
        ("other", "high"),
    ]

    pair, sums = Pair(), []

    async def bench(ctx):
        ctx.set(pair.low, 3)
        ctx.set(pair.high, 10)
        sums.append(ctx.get(pair.sum))

    simulator = Simulator(pair)
    simulator.add_testbench(bench)
    simulator.run()
    assert sums == [12 + 5] and len(elaborated) == 3


def test_modules_that_differ_stay_apart():
    text = (
        "module \\top.a0\n  wire width 1 \\x\nend\nmodule \\top.a1\n  wire width 2 \\x\nend\n"
        "module \\top\n  cell \\top.a0 \\a0\n  end\n  cell \\top.a1 \\a1\n  end\nend\n"
    )
    shared = share_modules(text, "top")
    assert re.findall(r"^module \\(\S+)", shared, re.MULTILINE) == ["top_a", "top_a_", "top"]
    assert re.findall(r"  cell \\(\S+) ", shared) == ["top_a", "top_a_"]


@BUILDS
@pytest.mark.parametrize("simulator", ["verilator", "icarus"])
def test_reads_cleanly(config, simulator, tmp_path):
    try:
        tool = find(simulator)
    except RuntimeError as error:
        if simulator == "verilator":
            raise
        pytest.skip(str(error))
    source = tmp_path / "top.v"
    source.write_text(emit(config))
    waivers = Path("hdl/waivers.vlt")
    command = {
        "verilator": ["--lint-only", "-Wall", "--quiet", str(waivers), str(source)],
        "icarus": ["-g2005", "-Wall", "-Wno-timescale", "-o", str(tmp_path / "out"), str(source)],
    }[simulator]
    result = subprocess.run([str(tool.path), *command], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")


def test_every_waiver_has_its_reason():
    lines = Path("hdl/waivers.vlt").read_text().splitlines()
    for before, line in pairwise(lines):
        if line.startswith("lint_off"):
            assert before.startswith("//")


@pytest.mark.parametrize("name", COMPONENTS)
def test_component_is_emitted_by_itself(name):
    config = SUBSET if name in components(SUBSET) else replace(SUBSET, memory="axi4", tables=1)
    assert f"module twofold_{name}(" in emit_component(name, config)


def test_unknown_component_is_refused():
    with pytest.raises(ValueError, match=r"^Component must be one of \('pe', .*\), not 'cpu'$"):
        emit_component("cpu", LOG)


def test_command_writes_three_files(tmp_path, capsys):
    path = tmp_path / "small.toml"
    path.write_text('name = "small"\npe = "log"\nrows = 2\ncols = 2\nword_bits = 2\n')
    assert main(["--config", str(path), "--out", str(tmp_path / "out")]) == 0
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == [
        "twofold_small.json",
        "twofold_small.md",
        "twofold_small.v",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('name = "a"\npe = "log"\nrows = 3\ncols = 2\nword_bits = 2\n', "rows must be a power of two, not 3"),
        (
            'name = "a"\npe = "tpu"\nrows = 2\ncols = 2\nword_bits = 2\n',
            "pe must be one of ('log', 'subset'), not 'tpu'",
        ),
        ('name = "a"\npe = "log"\nrows = 2\ncols = 2\nword_bits = 2\ncolour = 1\n', "key must be one of"),
    ],
)
def test_impossible_build_ends_with_one_line_and_nothing_written(text, message, tmp_path, capsys):
    path = tmp_path / "bad.toml"
    path.write_text(text)
    assert main(["--config", str(path), "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {path}: {message}") and error.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("enabled", [True, False])
def test_garbage_is_collected_afterwards_as_before(enabled):
    was_enabled = gc.isenabled()
    (gc.enable if enabled else gc.disable)()
    try:
        for _ in range(2):
            with pytest.raises(AttributeError), uncollected():
                assert not gc.isenabled()
                raise AttributeError
            assert gc.isenabled() is enabled
    finally:
        (gc.enable if was_enabled else gc.disable)()


def test_a_memory_that_is_no_zeros_keeps_what_it_begins_with():
    class Table(wiring.Component):
        address: In(2)
        line: Out(8)

        def elaborate(self, platform):
            m = Module()
            m.submodules.memory = memory = Memory(shape=8, depth=4, init=[0, 7, 0, 9])
            read = memory.read_port()
            m.d.comb += [read.addr.eq(self.address), self.line.eq(read.data)]
            return m

    verilog = emit_verilog(Table(), "table")
    assert re.findall(r"memory\[(\d)\] = 8'h0*(\w+);", verilog) == [("0", "0"), ("1", "7"), ("2", "0"), ("3", "9")]
