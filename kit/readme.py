"""The page that lies in a package."""

from twofold.golden.config import MACHINE_VERSION
from twofold.hdl.emit import top_name
from twofold.kit.templates import fill, text
from twofold.kit.testbench import Vectors
from twofold.kit.wrappers import readme_commands, readme_lines

_OUTSIDE_FILE = "| `network/outside.bin` | what the memory outside holds at first: bytes, from its beginning on |\n"


def readme(given: Vectors, wrappers: list[str]) -> str:
    """What is in the folder and how it is used."""
    image = given.image
    config = image.config
    return fill(
        "package.md",
        {
            "TOP": top_name(config),
            "NAME": config.name,
            "HASH": f"{config.build_hash:08x}",
            "REVISION": MACHINE_VERSION,
            "PE": config.pe,
            "ROWS": config.rows,
            "COLS": config.cols,
            "NETWORK": image.network,
            "CYCLES": f"{image.cycles:,}",
            "INPUTS": len(given.inputs),
            "WRAPPERS": readme_lines(wrappers, config),
            "COMMANDS": readme_commands(wrappers),
            "MASTER": f", an AXI4 master of {config.bus_bits} bits" if config.external else "",
            "OUTSIDE_FILE": _OUTSIDE_FILE if config.external else "",
            "OUTSIDE": text("package_outside.md") if config.external else "",
        },
    )
