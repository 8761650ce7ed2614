"""The folder that ``twofold package`` writes: all that uses a build without Python."""

import json
import struct
from pathlib import Path

from twofold.golden.config import MACHINE_VERSION, ArrayConfig
from twofold.golden.image import Image
from twofold.hdl.emit import emit, top_name
from twofold.kit.headers import machine_header, network_header
from twofold.kit.projects import core, sdc, vivado, xdc
from twofold.kit.readme import readme
from twofold.kit.register_files import litex_csv, system_rdl
from twofold.kit.templates import fill, text
from twofold.kit.testbench import Vectors, testbench_files
from twofold.kit.wrappers import wrapper_files
from twofold.support.digests import digest
from twofold.support.folders import recover, replace_folder
from twofold.support.tables import read_json

FORMAT, VERSION, MANIFEST = "twofold-package", 1, "package.json"
#: What the folder's own Makefile makes.
MADE = "build"


def package_files(given: Vectors, *, clock: float = 100.0, wrappers: list[str] | None = None) -> dict[str, bytes]:
    """Every file of a package, by its path in the folder.

    Parameters
    ----------
    given
        The network on the build, and what its testbench sends and expects.
    clock
        In MHz, for the constraints.
    wrappers
        Names of `kit.wrappers.WRAPPERS`.

    Raises
    ------
    ValueError
        If the clock is not 1 to 2000 MHz, or wrappers are asked for a build with a memory outside.
    """
    if wrappers and given.image.config.external:
        raise ValueError(f"Build of a wrapper must have memory = 'on_chip', not {given.image.config.memory!r}")
    if not 1 <= clock <= 2000:
        raise ValueError(f"Clock must be 1 to 2000 MHz, not {clock!r}")
    image = given.image
    config, top = image.config, top_name(image.config)
    benches = testbench_files(given)
    texts = {
        "Makefile": fill("Makefile", {"TOP": top}),
        "README.md": readme(given, wrappers or []),
        f"{top}.core": core(config, [name for name in benches if name.endswith(".mem")]),
        f"rtl/{top}.v": emit(config),
        "driver/twofold_machine.h": machine_header(config),
        "driver/twofold_network.h": network_header(image),
        "driver/twofold.h": text("twofold.h"),
        "driver/twofold.c": text("twofold.c"),
        **{f"sim/{name}": content for name, content in benches.items()},
        **wrapper_files(wrappers or [], given),
        f"constraints/{top}.sdc": sdc(config, clock),
        f"constraints/{top}.xdc": xdc(config, clock),
        "vivado/package_ip.tcl": vivado(config),
        f"registers/{top}.rdl": system_rdl(config),
        f"registers/{top}.csv": litex_csv(config),
    }
    files = {name: content.encode() for name, content in texts.items()}
    files["network/image.bin"] = _beats(image)
    if image.outside is not None:
        files["network/outside.bin"] = image.outside.content
    return files | {MANIFEST: _manifest(config, image, files)}


def save(files: dict[str, bytes], folder: Path) -> None:
    """Writes a package, whole or not at all; an older package in that folder is replaced.

    Raises
    ------
    ValueError
        If the folder holds something other than a package.
    """
    recover(folder)
    if folder.exists():
        strange = _strange(folder)
        if strange:
            raise ValueError(f"{folder}: folder must be new or hold only a package, not {strange[0]!r}")
    replace_folder(folder, files)


def _strange(folder: Path) -> list[str]:
    """Names in a folder that are of no package."""
    if not folder.is_dir():
        return [folder.name]
    known = {MANIFEST}
    if (folder / MANIFEST).is_file():
        manifest = read_json(folder / MANIFEST)
        if isinstance(manifest, dict) and manifest.get("format") == FORMAT:
            known |= set(manifest.get("files", ()))
    paths = (path.relative_to(folder) for path in folder.rglob("*") if not path.is_dir())
    return sorted(str(path) for path in paths if path.parts[0] != MADE and str(path) not in known)


def _beats(image: Image) -> bytes:
    return struct.pack(f"<{len(image.beats)}I", *image.beats)


def _manifest(config: ArrayConfig, image: Image, files: dict[str, bytes]) -> bytes:
    facts = {
        "format": FORMAT,
        "version": VERSION,
        "machine": MACHINE_VERSION,
        "build": config.name,
        "hash": f"{config.build_hash:08x}",
        "network": image.network,
        "files": {name: digest(content) for name, content in files.items()},
    }
    return f"{json.dumps(facts, indent=2)}\n".encode()
