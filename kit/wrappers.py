"""The machine for other buses: what ``twofold package --wrapper`` adds to a package."""

from twofold.golden.config import ArrayConfig
from twofold.hdl.control import ADDRESS_BITS
from twofold.hdl.emit import emit_verilog, top_name
from twofold.kit.templates import fill
from twofold.kit.testbench import Vectors, bus_testbench
from twofold.kit.wishbone import WISHBONE, WishboneMachine

#: Wrappers by name: what they are.
WRAPPERS = {"wishbone": "Verilog with a Wishbone bus for the registers", "litex": "a LiteX module"}


def wrapper_files(names: list[str], given: Vectors) -> dict[str, str]:
    """Texts of the wrappers and of their testbenches, by their paths in a package."""
    config, top = given.image.config, top_name(given.image.config)
    files = {}
    for name in names:
        # The LiteX module holds the machine on Wishbone.
        files[f"wrappers/{top}_wishbone.v"] = _wishbone(config)
        if name == "litex":
            files[f"wrappers/{top}_litex.py"] = fill("litex.py.in", {"TOP": top, "ADDRESS_BITS": ADDRESS_BITS - 2})
        files[f"sim/testbench_{name}.v"] = bus_testbench(
            given, f"{top}_{name}", "wishbone", [f"wb_{member}" for member in WISHBONE.members]
        )
    return files


def readme_lines(names: list[str], config: ArrayConfig) -> str:
    """Rows of the table in the package's page."""
    top = top_name(config)
    wishbone = (
        f"| `wrappers/{top}_wishbone.v` | the machine of `rtl/` with its registers on a Wishbone bus (classic, 32 "
        "bits, word addresses); the streams are the same |\n"
    )
    litex = (
        f"| `wrappers/{top}_litex.py` | a LiteX module: Wishbone for the registers, two `stream.Endpoint`; as a "
        "program it prints its Verilog |\n"
    )
    return (wishbone if names else "") + (litex if "litex" in names else "")


def readme_commands(names: list[str]) -> str:
    """Lines of the commands there."""
    return "".join(f"{f'make BUS={name}':22} # the testbench on {WRAPPERS[name]}\n" for name in dict.fromkeys(names))


def _wishbone(config: ArrayConfig) -> str:
    head = f"// {top_name(config)} with its registers on a Wishbone bus. Generated; do not edit.\n"
    return head + emit_verilog(WishboneMachine(config), f"{top_name(config)}_wishbone")
