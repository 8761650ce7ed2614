"""OR-AND gates that a design writes out become the library's, with complements that a module's instances share."""

from dataclasses import replace
from pathlib import Path

import pytest

from twofold.golden.config import ArrayConfig
from twofold.hdl.array import PeArray
from twofold.hdl.emit import emit_verilog
from twofold.support.once import Store
from twofold.synth.asic import asic_area
from twofold.synth.liberty import Gate, read_liberty
from twofold.synth.yosys import read_json, run_yosys

LIBRARY = Path("tests/synth/small.lib")
PICKS = """
module part(input clk, input [3:0] a, input [2:0] s, output [7:0] y);
  part_one one(.clk(clk), .a(a), .s(s[1:0]), .y(y[3:0]));
  part_one two(.clk(clk), .a({1'b1, a[2:0]}), .s(s[2:1]), .y(y[7:4]));
endmodule
module part_one(input clk, input [3:0] a, input [1:0] s, output [3:0] y);
  reg [1:0] kept;
  always @(posedge clk) kept <= s;
  wire [3:0] sign = {4{kept[0]}}, shift = {4{kept[1]}};
  wire [3:0] factor = ~((a | sign) & (~a | ~sign));
  assign y = ~((factor | shift) & ({factor[2:0], 1'b0} | ~shift));
endmodule
"""
SCRIPT = (
    "read_verilog design.v; rename part gold; flatten gold; delete part_one; proc gold; "
    "read_json netlist.json; rename part gate; setattr -mod -unset keep_hierarchy part_one; "
    "read_liberty -ignore_miss_func -overwrite cells.lib; flatten gate; opt_clean gate; "
    "miter -equiv -flatten gold gate miter; sat -verify -seq 1 -set-def-inputs -prove trigger 0 -tempinduct miter"
)


def mapped(verilog, tmp_path, **options):
    return asic_area(verilog, "part", LIBRARY, adders=["cells"], store=Store(tmp_path), **options)


def test_gates_are_found_by_function():
    library = read_liberty(LIBRARY)
    assert library.gate("!A", ("A",)) == Gate("NOT", ("A",), "Y")
    picking = library.gate("!((P+Q)*(R+S))", ("P", "Q", "R", "S"))
    assert picking is not None and set(map(frozenset, (picking.inputs[:2], picking.inputs[2:]))) == {
        frozenset("AB"),
        frozenset("CD"),
    }
    assert library.gate("A*B*C*D", ("A", "B", "C", "D")) is None


def test_picks_become_gates_that_compute_the_same(tmp_path):
    area = mapped(PICKS, tmp_path, keep=("part_one",))
    # A gate for each bit of both picks but the one with a constant; complements of a[2:0] once, of a[3] once.
    assert area.cells["PICK"] == 2 * (4 + 3)
    top = read_json(Path(area.netlist))["modules"]["part"]
    assert sorted(cell["type"] for cell in top["cells"].values()) == ["NOT"] * 4 + ["part_one"] * 2
    folder = Path(area.netlist).parent
    (folder / "cells.lib").write_text(LIBRARY.read_text())
    run_yosys(SCRIPT, folder)
    (folder / "design.v").write_text(PICKS.replace("factor | shift", "a | shift"))
    with pytest.raises(RuntimeError, match=r"^Yosys must end well"):
        run_yosys(SCRIPT, folder)


def test_array_takes_complements_of_its_operands_once_for_all_columns(tmp_path):
    config = ArrayConfig(name="x", pe="log", rows=2, cols=2, word_bits=3, select="and_or")
    area, other = (
        mapped(emit_verilog(PeArray(replace(config, select=select)), "part"), tmp_path, keep=("part_column",))
        for select in ("and_or", "mux")
    )
    modules = read_json(Path(area.netlist))["modules"]
    seen = {(row, config.delay(row, column)) for row in range(2) for column in range(2)}  # those of a chain as well
    assert sum(cell["type"] == "NOT" for cell in modules["part"]["cells"].values()) == 8 * len(seen) == 32
    column = modules["part_column"]
    complements = set(column["ports"]["operands$not"]["bits"])
    takers = [cell for cell in column["cells"].values() if complements & {bits[0] for bits in pins(cell)}]
    assert [cell["type"] for cell in takers] == ["PICK"] * 2 * 8
    assert "operands$not" not in read_json(Path(other.netlist))["modules"]["part_column"]["ports"]


def pins(cell):
    return cell["connections"].values()
