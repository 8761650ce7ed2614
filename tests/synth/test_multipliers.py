"""No multiplier anywhere in a machine, requantisation and addresses included; and the count can see one."""

from pathlib import Path

import pytest

from twofold.golden.config import ArrayConfig, load_config
from twofold.hdl.emit import emit, top_name
from twofold.support.once import Store
from twofold.synth.fpga import ECP5_MACHINE, TECHNOLOGIES
from twofold.synth.fpga import synthesise as map_to
from twofold.synth.multipliers import mapped_multipliers, word_multipliers
from twofold.synth.yosys import count_multipliers, read_statistics, run_yosys

SHIPPED = sorted([*Path("configs").glob("*.toml"), *Path("boards").glob("*.toml")])
#: How whole machines are mapped.
FLOWS = TECHNOLOGIES | {"ecp5": ECP5_MACHINE}
PLANTED = (
    "module top(input signed [8:0] a, input signed [8:0] b, output signed [17:0] y); assign y = a * b; endmodule\n"
)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_no_shipped_build_multiplies(path, tmp_path):
    """Before any mapping, where a multiplication is still one cell whatever would become of it."""
    config = load_config(path)
    cells, multipliers = word_multipliers(emit(config), top_name(config), tmp_path)
    assert multipliers == 0
    assert cells["$add"] > config.rows and any(name.startswith("$mem") for name in cells)


@pytest.mark.parametrize("component", ["unit", "window", "sequencer"])
def test_a_multiplication_in_any_component_is_seen(component, small, tmp_path):
    """One addition of a requantisation unit, of the address generator or of the sequencer becomes a product."""
    verilog, top = emit(small), top_name(small)
    start = verilog.index(f"module {top}_{component}(")
    sum_ = verilog.index(" + ", start)
    assert sum_ < verilog.index("endmodule", start)
    _, multipliers = word_multipliers(f"{verilog[:sum_]} * {verilog[sum_ + 3 :]}", top, tmp_path)
    assert multipliers == 1


@pytest.mark.parametrize("name", TECHNOLOGIES)
def test_a_planted_multiplier_is_counted_before_and_after_mapping(name, tmp_path):
    planted = map_to(TECHNOLOGIES[name], PLANTED, "top", Store(tmp_path))
    # ECP5 has blocks that multiply, this iCE40 has none: there it is seen as it stands before mapping.
    assert planted.multipliers == {"ecp5": 2, "ice40": 1}[name]


@pytest.mark.parametrize("name", FLOWS)
def test_a_small_machine_mapped_to_cells_has_none(name, small, mapped):
    cells = map_to(FLOWS[name], emit(small), top_name(small), mapped)
    assert cells.multipliers == 0
    assert cells.luts > 1000 and cells.ffs > 500 and cells.brams > 4


@pytest.mark.parametrize("pe", ["log", "subset"])
def test_synthesis_up_to_dsp_mapping_finds_none(pe, tmp_path):
    config = ArrayConfig(name=f"{pe}_4x4", pe=pe, rows=4, cols=4, word_bits=3)
    result = mapped_multipliers(config, tmp_path)
    assert result.multipliers == 0
    assert sum(result.cells.values()) > 100


@pytest.mark.parametrize("flow", ["", "synth_ecp5 -top top -run begin:map_ram;"])
def test_statistics_see_a_planted_multiplier(flow, tmp_path):
    (tmp_path / "top.v").write_text(PLANTED)
    run_yosys(f"read_verilog top.v; proc; {flow} tee -q -o cells.json stat -json", tmp_path)
    assert count_multipliers(read_statistics(tmp_path / "cells.json")) == 1


def test_failing_tool_names_its_log(tmp_path):
    with pytest.raises(RuntimeError, match=r"^Yosys must end well, not with exit code 1 .*; log: .*yosys\.log$"):
        run_yosys("read_verilog missing.v", Path(tmp_path))
