"""Standard cells: what is mapped computes the same, adders become the library's by function, memories stay whole."""

from pathlib import Path

import pytest

from twofold.golden.config import ArrayConfig
from twofold.support.once import Store
from twofold.synth.asic import asic_area
from twofold.synth.liberty import Adder, read_liberty, truth_table
from twofold.synth.measure import component_area
from twofold.synth.yosys import run_yosys

LIBRARY = Path("tests/synth/small.lib")
WAYS = ("cells", "chains of cells", "gates", "yosys")
SUMS = """
module sums(input signed [4:0] a, b, c, input [3:0] d,
            output [6:0] four, output [5:0] minus, output less, output [3:0] twice);
  assign four = a + b + c + d;
  assign minus = a - c;
  assign less = $signed(a) < $signed(c);
  assign twice = d + d + 1;
endmodule
"""


def test_adders_are_found_by_function():
    library = read_liberty(LIBRARY)
    assert library.adder(3) == Adder("THREE", ("P", "Q", "R"), "T", "M")
    assert library.adder(2) == Adder("TWO", ("P", "Q"), "T", "M")
    assert library.unusable == ("CHEAP", "GATE")


@pytest.mark.parametrize(
    ("function", "table"),
    [("A*B", 0b1000), ("A B", 0b1000), ("!(A+B)", 0b0001), ("A'^B", 0b1001), ("A|!B&A", 0b1010), ("1", 0b1111)],
)
def test_truth_tables(function, table):
    assert truth_table(function, ("A", "B")) == table


def test_other_files_are_refused(tmp_path):
    (tmp_path / "x.lib").write_text("cell (x) { area : 1; }")
    with pytest.raises(ValueError, match=r"^.*x\.lib: file must be a Liberty library, not something else$"):
        read_liberty(tmp_path / "x.lib")


@pytest.mark.parametrize("way", WAYS)
def test_mapped_adders_compute_the_same(way, tmp_path):
    mapped = asic_area(SUMS, "sums", LIBRARY, adders=[way], store=Store(tmp_path))
    assert ("THREE" in mapped.cells) == ("cells" in way)
    assert "CHEAP" not in mapped.cells
    folder = Path(mapped.netlist).parent
    (folder / "cells.lib").write_text(LIBRARY.read_text())
    script = (
        "read_verilog design.v; rename sums gold; proc; read_json netlist.json; rename sums gate; "
        "read_liberty -ignore_miss_func cells.lib; flatten gate; opt_clean gate; "
        "miter -equiv -flatten gold gate miter; sat -verify -prove trigger 0 miter"
    )
    run_yosys(script, folder)
    other = SUMS.replace("a - c", "a - c - 1")
    (folder / "design.v").write_text(other)
    with pytest.raises(RuntimeError, match=r"^Yosys must end well"):
        run_yosys(script, folder)


def test_area_is_the_sum_of_the_cells_and_the_smallest_way_wins(tmp_path):
    store = Store(tmp_path)
    each = [asic_area(SUMS, "sums", LIBRARY, adders=[way], store=store) for way in WAYS]
    best = asic_area(SUMS, "sums", LIBRARY, adders=WAYS, store=store)
    assert best.area == min(one.area for one in each) < max(one.area for one in each)
    library = read_liberty(LIBRARY)
    assert best.area == sum(library.area(name) * count for name, count in best.cells.items())


def test_memories_are_counted_in_bits(tmp_path):
    config = ArrayConfig(name="x", pe="log", rows=2, cols=2, word_bits=3, acc_depth=8, acc_width=24)
    mapped = component_area("accumulators", config, LIBRARY, adders=["cells"], store=Store(tmp_path))
    assert mapped.memory_bits == 2 * 8 * 2 * 24  # banks, positions, columns, bits
    assert 0 < mapped.sequential < mapped.area < mapped.memory_bits * library_area("KEEP")


def library_area(cell: str) -> float:
    return read_liberty(LIBRARY).area(cell)


def test_columns_are_mapped_once_and_counted_often(tmp_path):
    areas = {}
    for cols in (2, 4, 8):
        config = ArrayConfig(name="x", pe="log", rows=2, cols=cols, word_bits=3)
        areas[cols] = component_area("array", config, LIBRARY, adders=["cells"], store=Store(tmp_path)).area
    assert areas[8] - areas[4] == pytest.approx(2 * (areas[4] - areas[2]))
    assert areas[4] > areas[2] > 0


def test_clock_gates_count_in_the_area(tmp_path):
    config = ArrayConfig(name="x", pe="log", rows=4, cols=2, word_bits=3)
    plain, gated = (
        component_area("column", config, LIBRARY, adders=["cells"], gate_clocks=gate, store=Store(tmp_path))
        for gate in (False, True)
    )
    assert "GATE" not in plain.cells and gated.cells["GATE"] == 2  # shadow and active words
    library = read_liberty(LIBRARY)
    assert gated.area == pytest.approx(sum(library.area(name) * n for name, n in gated.cells.items()))
    assert gated.sequential == pytest.approx(plain.sequential + 2 * library.area("GATE"))
