"""The machine after synthesis gives the same integers in the same cycles, and a fault in it is seen."""

import re

import pytest

from twofold.golden.config import ArrayConfig
from twofold.hdl.emit import top_name
from twofold.sim import fast, gates, host
from twofold.sim.random_check import check_networks, check_programs
from twofold.synth.yosys import run_yosys

#: As small as a machine can be that runs networks of several layers.
SMALL = {
    "rows": 2,
    "cols": 2,
    "acc_width": 24,
    "acc_depth": 8,
    "feature_depth": 64,
    "weight_depth": 64,
    "channel_depth": 16,
    "program_depth": 64,
    "max_side": 8,
    "max_pass_shift": 7,
    "digits": 2,
}
LOG = ArrayConfig(name="gates_log", pe="log", word_bits=3, **SMALL)
SUBSET = ArrayConfig(name="gates_subset", pe="subset", word_bits=3, point_sets=2, **SMALL)
#: A cell of each style that belongs to the compute path, and its output.
CELL = {
    "generic": r"^  assign (\\?[\w.$\[\]]+) += (.*\\compute\.(?:array|accumulators)\.[^?\n]*[&|^][^?\n]*);$",
    "ecp5": r"^    \.Z\((\\compute\.\S+ )\)$",
}


def planted(text: str, style: str) -> str:
    """The netlist with one more cell, which inverts the output of a cell of the array where ``+fault`` is given."""
    match = re.search(CELL[style], text, flags=re.MULTILINE)
    assert match is not None
    if style == "generic":
        faulty = f"  assign {match[1]}  = ({match[2]}) ^ fault;"
    else:
        faulty = "    .Z(before_fault)"
        text = text.replace(
            "\nendmodule\n", f"\n  wire before_fault;\n  assign {match[1]} = before_fault ^ fault;\nendmodule\n", 1
        )
    text = text.replace(match[0], faulty, 1)
    declared = '  reg fault;\n  initial fault = $test$plusargs("fault") != 0;\n'
    return re.sub(r"^module .*?\);\n", lambda head: head[0] + declared, text, count=1, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(("style", "config"), [("generic", SUBSET), ("ecp5", LOG)], ids=["generic", "ecp5"])
def test_gates_equal_golden_and_a_fault_is_seen(style, config, monkeypatch):
    text = gates.netlist(config, style)
    found = gates.cells(text)
    if style == "ecp5":
        assert {"LUT4", "CCU2C", "TRELLIS_FF", "TRELLIS_DPR16X4"} <= found
    assert not any(re.search(r"MULT|ALU\d|\$mul", name) for name in found)
    program = host.build(planted(text, style), top_name(config), optimise="-O0")
    results = [*check_networks(config, 2, 4, program=program), *check_programs(config, 2, 1, program=program)]
    assert [result.message for result in results] == [""] * 4
    assert all(result.cycles > 30 for result in results)

    monkeypatch.setattr(
        "twofold.sim.random_check.run", lambda *args, **keys: fast.run(*args, **keys, plusargs=["+fault"])
    )
    (faulty,) = check_networks(config, 1, 4, program=program)
    assert not faulty.passed


def test_the_model_of_a_lut_is_that_of_yosys(tmp_path):
    """Proven for every table and every input: the table becomes an input."""
    given = gates.models_of("ecp5/cells_sim.v", ["LUT4"], instead={})
    for name, model in (("gold", given), ("gate", gates.LUT4)):
        text, tables = re.subn(r"parameter \[15:0\] INIT = 16'h0000;", "", model)
        text, heads = re.subn(r"(?m)^module LUT4\((.*)\);", rf"module {name}(\1, input [15:0] INIT);", text)
        assert (tables, heads) == (1, 1)
        (tmp_path / f"{name}.v").write_text(text)
    prove = "miter -equiv -flatten gold gate miter; sat -verify -prove trigger 0 miter"
    run_yosys(f"read_verilog gold.v gate.v; proc; {prove}", tmp_path)


def test_gates_must_be_of_a_known_style():
    with pytest.raises(ValueError, match=r"^Gates must be one of \('generic', 'ecp5'\), not 'ice40'$"):
        gates.netlist(LOG, "ice40")
