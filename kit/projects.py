"""What other tools take a package by: constraints, a FuseSoC core, Vivado's packager."""

from collections.abc import Sequence

from twofold.golden.config import MACHINE_VERSION, ArrayConfig
from twofold.hdl.emit import top_name
from twofold.kit.headers import constants
from twofold.kit.templates import fill


def sdc(config: ArrayConfig, clock: float) -> str:
    """Synopsys design constraints: the clock, in MHz, and half of its period for what is outside."""
    return fill("constraints.sdc", _values(config, clock))


def xdc(config: ArrayConfig, clock: float) -> str:
    """Vivado's constraints: the clock, in MHz, where the machine is synthesised by itself."""
    return fill("constraints.xdc", _values(config, clock))


def core(config: ArrayConfig, memories: Sequence[str]) -> str:
    """FuseSoC's core file (CAPI2); `memories`: files of the testbench beside its Verilog."""
    lines = "\n".join(f"      - sim/{name}: {{file_type: user, copyto: {name}}}" for name in memories)
    ports = "AXI4-Stream, AXI4-Lite and AXI4 master ports" if config.external else "AXI4-Stream and AXI4-Lite ports"
    return fill("fusesoc.core", _values(config, 0) | {"MEMORIES": lines, "PORTS": ports})


def vivado(config: ArrayConfig) -> str:
    """Tcl that packages the machine as an IP with AXI interfaces."""
    masters = "m_axi" if config.external else ""
    return fill("package_ip.tcl", _values(config, 0) | {"REGISTERS": _registers(config), "MASTERS": masters})


def _values(config: ArrayConfig, clock: float) -> dict[str, object]:
    period = 1000 / clock if clock else 0
    return {
        "TOP": top_name(config),
        "NAME": config.name,
        "REVISION": MACHINE_VERSION,
        "PERIOD": f"{period:.3f}",
        "HALF": f"{period / 2:.3f}",
        "MHZ": f"{clock:g}",
    }


def _registers(config: ArrayConfig) -> str:
    """Name and byte address of each register, as a Tcl list."""
    found = {name.removeprefix("REG_"): n for name, n in constants(config).items() if name.startswith("REG_")}
    return " ".join(f"{name} 0x{address:02X}" for name, address in found.items())
