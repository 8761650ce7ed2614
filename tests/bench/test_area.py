"""What the area benchmark makes of its measurements."""

import pytest

from bench import area
from hdl.emit import emit_verilog


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
