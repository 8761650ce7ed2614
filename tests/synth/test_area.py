"""Synthesis: the multiplier count can see a multiplier, and the builds have none."""

from pathlib import Path

import pytest

from golden.config import ArrayConfig
from synth.area import synthesise
from synth.yosys import count_multipliers, read_statistics, run_yosys


@pytest.mark.parametrize("flow", ["", "synth_ecp5 -top top -run begin:map_ram;"])
def test_a_planted_multiplier_is_counted(flow, tmp_path):
    (tmp_path / "top.v").write_text(
        "module top(input signed [8:0] a, input signed [8:0] b, output signed [17:0] y); assign y = a * b; endmodule\n"
    )
    run_yosys(f"read_verilog top.v; proc; {flow} tee -q -o cells.json stat -json", tmp_path)
    assert count_multipliers(read_statistics(tmp_path / "cells.json")) == 1


@pytest.mark.parametrize(("pe", "bits"), [("log", 3), ("subset", 4)])
def test_builds_have_no_multiplier(pe, bits, tmp_path):
    config = ArrayConfig(name=f"{pe}_4x4", pe=pe, rows=4, cols=4, word_bits=bits)
    result = synthesise(config, tmp_path, complete=False)
    assert result.multipliers == 0
    assert sum(result.cells.values()) > 100


def test_failing_tool_names_its_log(tmp_path):
    with pytest.raises(RuntimeError, match=r"^Yosys must end well, not with exit code 1 .*; log: .*yosys\.log$"):
        run_yosys("read_verilog missing.v", Path(tmp_path))
