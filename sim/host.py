"""Builds a machine with its C++ host (`harness.cpp`), which speaks to it through its AXI ports only."""

import subprocess
from pathlib import Path

from twofold.golden.registers import REGISTERS
from twofold.sim import tools
from twofold.support.files import write_text
from twofold.support.once import build_once, key_of

_ARGS = ("-Wno-lint", "-Wno-style", "--no-timing", *"-O3 --x-assign fast --x-initial fast --noassert".split())


def build(verilog: str, top: str, *, optimise: str = "-O2", threads: int = 1, bus_bits: int = 0) -> Path:
    """Builds a machine with its C++ host, unless the same text has been built before.

    Parameters
    ----------
    verilog
        The machine.
    top
        Name of its top module.
    optimise
        How hard the C++ compiler should try.
    threads
        Threads of the simulated machine (Verilator's).
    bus_bits
        Bits of a beat to the memory outside; 0 for a machine without one.

    Returns
    -------
    The executable.

    Raises
    ------
    ToolError
        If Verilator or the compiler is missing, or refuses the text.
    """
    tool = tools.find_verilator()
    harness = Path(__file__).parent / "harness.cpp"
    made_by = [tool.version, tools.compiler_version()]
    key = key_of(modules=[__name__], inputs=[verilog, top, harness, optimise, threads, bus_bits, *made_by])
    place = tools.BUILD / "sim" / f"{top}-host"
    built = build_once(
        place.resolve(), key, lambda folder: _make(folder, tool, verilog, top, harness, optimise, threads, bus_bits)
    )
    return built / "host"


def _make(
    folder: Path,
    tool: tools.Tool,
    verilog: str,
    top: str,
    harness: Path,
    optimise: str,
    threads: int,
    bus_bits: int,
) -> None:
    text = harness.read_text(encoding="utf-8")
    for name, register in REGISTERS.items():
        text = text.replace(f"@{name}@", str(register.address))
    write_text(folder / f"{top}.v", verilog)
    write_text(folder / "harness.cpp", text)
    verilate = [str(tool.path), "--cc", "--exe", "--Mdir", ".", "--top-module", top, "--prefix", "Vtop"]
    verilate += ["--threads", str(threads)] if threads > 1 else []
    verilate += ["-CFLAGS", f"-DBUS_BYTES={bus_bits // 8}"] if bus_bits else []
    # What is not optimised is compiled quicker in one piece.
    verilate += ["--output-split", "0"] if optimise == "-O0" else []
    make = ["make", "-j2", "-f", "Vtop.mk", f"OBJCACHE={tools.object_cache()}", f"OPT_FAST={optimise}"]
    log = folder / "build.log"
    with open(log, "w") as file:
        for command in ([*verilate, *_ARGS, "-o", "host", "harness.cpp", f"{top}.v"], make):
            done = subprocess.run(command, cwd=folder, stdout=file, stderr=subprocess.STDOUT, check=False)
            if done.returncode:
                raise tools.ToolError(f"{tool.version} must build {top}, see {log}:\n{tools.tail(log)}")
