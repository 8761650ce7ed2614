"""What the area benchmark makes of its measurements."""

from functools import partial

import pytest
from amaranth.sim import Simulator

from twofold.bench import area
from twofold.bench.elements.grid import Grid
from twofold.golden.config import ArrayConfig
from twofold.hdl.column import Column
from twofold.hdl.emit import emit_verilog


def test_the_smallest_form_counts_and_rivals_make_the_ratios():
    found = {
        "log3": {"shifts": {"per_mac": 50.0, "registers": 10.0}},
        "multiply3": {
            "Yosys, operator": {"per_mac": 120.0, "registers": 11.0},
            "Yosys, rows": {"per_mac": 100.0, "registers": 12.0},
        },
        "multiply8": {"Yosys, operator": {"per_mac": 400.0, "registers": 13.0}},
    }
    table = area.compare(found)
    assert table["log3"]["ratio"] == 0.5
    assert table["log3"]["ratios"] == {"multiply3": 0.5, "multiply8": 0.125}
    assert (table["multiply3"]["per_mac"], table["multiply3"]["form"]) == (100.0, "Yosys, rows")
    assert "ratio" not in table["multiply3"]


def test_the_table_shows_the_smallest_form_and_what_it_is_held_against(capsys):
    forms = {"rows": {"per_mac": 100.0, "area_delay": 900, "mhz": 77}, "operator": {"per_mac": 120.0}}
    area.show("ecp5", "LUT sites", {"log3": {"shifts": {"per_mac": 50.0, "area_delay": 300}}, "multiply3": forms})
    lines = [[cell.strip() for cell in line.strip("│").split("│")] for line in capsys.readouterr().out.splitlines()]
    assert ["log3", "shifts", "50.0", "-", "0.50 of multiply3", "0.33 of multiply3"] in lines
    assert ["multiply3", "rows", "100.0", "77", "", ""] in lines


def test_area_times_delay_is_compared_among_the_forms_that_are_best_in_it():
    forms = {"small": {"per_mac": 100.0, "area_delay": 900}, "fast": {"per_mac": 130.0, "area_delay": 600}}
    table = area.compare({"log4": {"shifts": {"per_mac": 50.0, "area_delay": 450}}, "multiply4": forms})
    assert (table["multiply4"]["form"], table["log4"]["ratio"], table["log4"]["area_delay_ratio"]) == (
        "small",
        0.5,
        0.75,
    )


def test_the_netlists_of_least_area_and_of_least_area_times_delay_may_differ(monkeypatch):
    ways = {"columns": [(512.0, 256.0, 10.0), (768.0, 256.0, 5.0)], "row": [(256.0, 0.0, 2.0), (512.0, 0.0, 1.0)]}
    monkeypatch.setattr(area, "_part_netlists", lambda design, make, count, liberty: ways[make])
    design = area.Design("x", "y", (("columns", 16), ("row", 1)))
    assert area.asic_per_mac(design, None) == {
        "per_mac": 3.0,
        "registers": 1.0,
        "mhz": 83,
        "area_delay": 28,
        "area_delay_per_mac": 4.0,
        "area_delay_mhz": 143,
    }


@pytest.mark.parametrize("technology", ["asic", "ecp5"])
def test_every_element_of_the_comparison_is_designed(technology):
    names = {design.pe for design in area.designs(technology)}
    assert names >= {"log3", "log4", "subset3", "subset4", "paper_subset", "multiply3", "multiply4", "multiply8"}
    assert names >= set(area.RIVALS) | {rival for rivals in area.RIVALS.values() for rival in rivals}
    forms = [(design.pe, design.form) for design in area.designs(technology)]
    assert len(forms) == len(set(forms))


def test_only_one_form_leaves_the_multiplication_to_yosys():
    for design in area.designs("asic"):
        if design.pe == "multiply8" or "booth" in design.form:
            continue
        for make, _ in design.parts:
            multiplies = " * " in emit_verilog(make(), "part")
            assert multiplies == (design.form == "Yosys, operator"), design


def test_a_missing_liberty_file_is_an_error(capsys):
    assert area.main(["--liberty", "nowhere.lib"]) == 2
    assert capsys.readouterr().err == "error: Liberty file must exist, not 'nowhere.lib'\n"


def test_columns_of_a_grid_see_the_same_inputs():
    config = ArrayConfig(name="x", pe="log", rows=2, cols=4, word_bits=3)
    grid = Grid(partial(Column, config), 4)

    async def bench(ctx):
        for row, (pick, operand) in enumerate([(1, 200), (2, 7)]):
            ctx.set(grid.words[row], {"term0": pick, "sign": row})
            ctx.set(grid.operands[row], operand)
        for step in ("load", "swap"):
            ctx.set(getattr(grid, step), 1)
            await ctx.tick()
            ctx.set(getattr(grid, step), 0)
        await ctx.tick()
        right = 2 * 200 - 4 * 7 + config.product_base(2, False) + config.product_base(4, True)
        assert [ctx.get(grid.sum[col]) for col in range(4)] == [right] * 4

    simulator = Simulator(grid)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()


def test_the_mapping_with_the_fewest_sites_counts(monkeypatch):
    class Result:
        def __init__(self, luts):
            self.luts = luts

    sizes = {}
    monkeypatch.setattr(area, "synthesise", lambda way, *_: Result(sizes[way.synth]))
    for smaller in ("abc", "abc9"):
        sizes.update({area.ecp5_trees(way, "booth").synth: 2 - (way == smaller) for way in ("abc", "abc9")})
        result, way = area.ecp5_mapped("", "booth")
        assert (result.luts, way) == (1, area.ecp5_trees(smaller, "booth"))
        assert "booth" in way.synth
