"""The memory image on disk: `manifest.json`, one `.mem` file a memory, and `image.bin`, the frame that a host sends."""

import json
import struct
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeVar

from twofold.golden.causes import CAUSES, WORK
from twofold.golden.config import MACHINE_VERSION, ArrayConfig
from twofold.golden.frame import FrameError, parse
from twofold.golden.image import Image, ImageLayer, OutsideContent, PlacedTensor
from twofold.golden.input_layout import InputLayout
from twofold.golden.isa import Section, line_bits, line_count
from twofold.golden.network import Tensor
from twofold.golden.order import Order, read_order
from twofold.golden.transfers import bus_beats
from twofold.support.digests import digest, file_digest, json_digest
from twofold.support.folders import recover, replace_folder
from twofold.support.reading import LARGEST, read_bytes
from twofold.support.tables import read_json

FORMAT = "twofold-image"
VERSION = 1
MANIFEST = "manifest.json"
FRAME = "image.bin"
#: What a host writes into the memory outside the chip, of builds with one.
OUTSIDE = "outside.bin"


def _mem(kind: Section) -> str:
    return f"{kind.name.lower()}.mem"


Kind = TypeVar("Kind")
_KIND_NAMES: dict[type, str] = {str: "a string", int: "an integer", list: "a list", dict: "a table"}
_KINDS = (Section.TABLES, Section.POINTS, Section.WEIGHT, Section.CHANNEL, Section.PROGRAM)
_FILES = {FRAME, OUTSIDE, *(_mem(kind) for kind in _KINDS)}


def save(image: Image, folder: Path | str) -> None:
    """Writes an image, whole or not at all; an older image in that folder is replaced.

    Raises
    ------
    ValueError
        If the folder holds something other than an image.
    """
    folder = Path(folder)
    if folder.exists() and not (folder.is_dir() and {path.name for path in folder.iterdir()} <= {MANIFEST, *_FILES}):
        raise ValueError(f"{folder}: folder must be new or hold only an image, not other files")
    replace_folder(folder, _files(image))


def load(folder: Path | str) -> Image:
    """Reads an image.

    Raises
    ------
    FileNotFoundError
        If there is no such folder, or a file of it is missing.
    ValueError
        If a file is damaged, of a newer version or something else; the message begins with its path.
    """
    folder = Path(folder)
    recover(folder)
    path = folder / MANIFEST
    manifest = _read_manifest(path)
    try:
        config = _build(manifest["build"])
        table = _table(manifest)
        digests = dict(manifest["files"])
        if not {FRAME, _mem(Section.PROGRAM)} <= set(digests) <= _FILES:
            raise ValueError(f"files must be those of an image, not {tuple(digests)}")
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: file must describe an image, not this: {error}") from error
    for name, stated in digests.items():
        found = file_digest(folder / name)
        if found != stated:
            raise ValueError(f"{folder / name}: checksum must be {stated!r}, not {found!r}: the file is damaged")
    lines: dict[str, Any] = {
        kind.name.lower(): _read_mem(config, kind, folder / _mem(kind)) if _mem(kind) in digests else ()
        for kind in _KINDS
    }
    image = Image(config=config, **lines, **table, outside=_read_outside(config, manifest, folder))
    _check_frame(image, folder / FRAME)
    _check_facts(image, manifest, path)
    return image


def _files(image: Image) -> dict[str, bytes]:
    files = {}
    for kind, lines in _lines(image).items():
        if lines:
            width = -(-line_bits(image.config, kind) // 4)
            files[_mem(kind)] = "".join(f"{line:0{width}x}\n" for line in lines).encode()
    if image.outside is not None:
        files[OUTSIDE] = image.outside.content
    files[FRAME] = struct.pack(f"<{len(image.beats)}I", *image.beats)
    digests = {name: digest(content) for name, content in files.items()}
    manifest = _manifest(image) | {"files": digests}
    text = json.dumps(manifest | {"sha256": _digest(manifest)}, indent=2)
    return files | {MANIFEST: f"{text}\n".encode()}


def _lines(image: Image) -> dict[Section, tuple[int, ...]]:
    """The lines of every memory; of the program all, wherever they come from."""
    return image.sections | {Section.PROGRAM: image.program}


def _manifest(image: Image) -> dict[str, object]:
    used = image.sections | {Section.FEATURE: ()}
    return {
        "format": FORMAT,
        "version": VERSION,
        "network": image.network,
        "build": {"hash": f"{image.config.build_hash:08x}", **asdict(image.config)},
        "memories": {
            kind.name.lower(): {"used": image.used_lines(kind), "lines": line_count(image.config, kind)}
            for kind in used
        },
        "input": _placed(image.input) | _folded(image.input.layout),
        "outputs": [_placed(output) | _ordered(output.order) for output in image.outputs],
        **({} if image.outside is None else {"outside": {"bytes": image.outside.size}}),
        "cycles": image.cycles,
        "passes": image.passes,
        "macs": image.macs,
        "utilisation": round(image.utilisation(), 6),
        "acc_bits": image.acc_bits,
        "layers": [
            {
                "name": layer.name,
                "kind": layer.kind,
                "first": layer.first,
                "last": layer.last,
                "passes": layer.passes,
                "cycles": layer.cycles,
                "spent": dict(layer.spent),
                "work": dict(layer.work),
                "macs": layer.macs,
                "utilisation": round(image.utilisation(layer), 6),
                "acc_bits": layer.acc_bits,
                "output": _placed(layer.output),
            }
            for layer in image.layers
        ],
    }


def _placed(placed: PlacedTensor) -> dict[str, object]:
    return {"address": placed.address, **({"outside": True} if placed.outside else {}), **asdict(placed.tensor)}


def _folded(layout: InputLayout | None) -> dict[str, object]:
    return {} if layout is None else {"layout": asdict(layout)}


def _ordered(order: Order | None) -> dict[str, object]:
    return {} if order is None else {"order": asdict(order)}


def _read_manifest(path: Path) -> dict[str, Any]:
    manifest: dict[str, Any] = read_json(path)
    found = manifest.get("format") if isinstance(manifest, dict) else None
    if found != FORMAT:
        raise ValueError(f"{path}: format must be {FORMAT!r}, not {found!r}")
    if manifest.get("version") != VERSION:
        raise ValueError(f"{path}: version must be {VERSION}, not {manifest.get('version')!r}")
    stated = manifest.pop("sha256", None)
    if stated != _digest(manifest):
        raise ValueError(f"{path}: checksum must be {_digest(manifest)!r}, not {stated!r}: the file is damaged")
    return manifest


def _digest(manifest: dict[str, Any]) -> str:
    return json_digest(manifest, finite=False)


def _build(values: dict[str, Any]) -> ArrayConfig:
    config = ArrayConfig(**{key: value for key, value in values.items() if key != "hash"})
    for older in range(1, MACHINE_VERSION):
        if values["hash"] == f"{config.hash_in(older):08x}":
            raise ValueError(f"machine version must be {MACHINE_VERSION}, not {older}: map the network again")
    if values["hash"] != f"{config.build_hash:08x}":
        raise ValueError(f"build hash must be '{config.build_hash:08x}', not {values['hash']!r}")
    return config


def _table(manifest: dict[str, Any]) -> dict[str, Any]:
    """What an `Image` holds besides its build and its lines."""
    layers, outputs = (_of_type(manifest[key], key, list) for key in ("layers", "outputs"))
    for key, rows in (("layers", layers), ("outputs", outputs)):
        if not rows:
            raise ValueError(f"{key} must be at least one, not {rows!r}")
    return {
        "network": _of_type(manifest["network"], "network", str),
        "layers": tuple(map(_read_layer, layers)),
        "input": _read_input(manifest["input"]),
        "outputs": tuple(map(_read_output, outputs)),
        "cycles": _count(manifest["cycles"], "cycles", 1),
    }


def _read_layer(row: dict[str, Any]) -> ImageLayer:
    values = {key: value for key, value in row.items() if key != "utilisation"}
    for key in ("name", "kind"):
        _of_type(values[key], key, str)
    for key in ("first", "last", "passes", "cycles", "macs", "acc_bits"):
        _count(values[key], key, int(key == "cycles"))
    for table, names in (("spent", CAUSES), ("work", WORK)):
        found = _of_type(values[table], table, dict)
        if tuple(found) != names:
            raise ValueError(f"{table} must be of {names}, not {tuple(found)}")
        for key, cycles in found.items():
            _count(cycles, f"{table}.{key}")
    return ImageLayer(**values | {"output": _read_placed(row["output"])})


def _read_placed(values: dict[str, Any]) -> PlacedTensor:
    fields = {key: value for key, value in values.items() if key not in ("address", "outside")}
    outside = _of_type(values.get("outside", False), "outside", bool)
    tensor = Tensor(**fields | {"shape": tuple(values["shape"])})
    return PlacedTensor(tensor, _count(values["address"], "address"), outside=outside)


def _read_input(values: dict[str, Any]) -> PlacedTensor:
    """The input, with its layout if it has one."""
    placed = _read_placed({key: value for key, value in values.items() if key != "layout"})
    if "layout" not in values:
        return placed
    pairs = _of_type(values["layout"], "layout", dict)
    return replace(placed, layout=InputLayout(**{key: tuple(_of_type(pairs[key], key, list)) for key in pairs}))


def _read_output(values: dict[str, Any]) -> PlacedTensor:
    """An output, with its order if it has one."""
    placed = _read_placed({key: value for key, value in values.items() if key != "order"})
    return replace(placed, order=read_order(values["order"])) if "order" in values else placed


def _of_type(value: Any, key: str, kind: type[Kind]) -> Kind:
    if type(value) is not kind:
        raise TypeError(f"{key} must be {_KIND_NAMES[kind]}, not {value!r}")
    checked: Kind = value
    return checked


def _count(value: Any, key: str, least: int = 0) -> int:
    count = _of_type(value, key, int)
    if not least <= count < 1 << 63:
        raise ValueError(f"{key} must be {least} to 2**63 - 1, not {value!r}")
    return count


def _read_outside(config: ArrayConfig, manifest: dict[str, Any], folder: Path) -> OutsideContent | None:
    """What lies outside at first, if the build has a memory there."""
    if config.external != ("outside" in manifest) or config.external != (OUTSIDE in manifest["files"]):
        raise ValueError(f"{folder / MANIFEST}: outside must be given where the build's memory is, and only there")
    if not config.external:
        return None
    size = _count(manifest["outside"]["bytes"], "outside.bytes", 1)
    content = read_bytes(folder / OUTSIDE, LARGEST)
    if len(content) > size:
        raise ValueError(f"{folder / OUTSIDE}: file must have at most {size} bytes, not {len(content)}")
    return OutsideContent(content, size)


def _read_mem(config: ArrayConfig, kind: Section, path: Path) -> tuple[int, ...]:
    bits = line_bits(config, kind)
    lines = []
    for number, text in enumerate(read_bytes(path, LARGEST).decode("ascii", "replace").splitlines(), start=1):
        try:
            line = int(text, 16)
        except ValueError:
            line = -1
        if not 0 <= line < 1 << bits:
            raise ValueError(f"{path}: line {number} must be a hexadecimal number of {bits} bits, not {text!r}")
        lines.append(line)
    return tuple(lines)


def _check_facts(image: Image, manifest: dict[str, Any], path: Path) -> None:
    """What the manifest says twice, it says alike, and every tensor lies in feature memory."""
    for placed in (image.input, *image.outputs, *(layer.output for layer in image.layers)):
        end, depth, unit = placed.address + placed.lines(image.config), image.config.feature_depth, "lines"
        if placed.outside:
            if image.outside is None:
                raise ValueError(f"{path}: tensor must lie on the chip, not outside")
            beats = placed.lines(image.config) * bus_beats(image.config, Section.FEATURE)
            end, depth, unit = placed.address + beats, image.outside.size * 8 // image.config.bus_bits, "beats"
        if end > depth:
            raise ValueError(f"{path}: tensor must end within {depth} {unit}, not at {end}")
    for key, value in json.loads(json.dumps(_manifest(image))).items():
        if manifest.get(key) != value:
            raise ValueError(f"{path}: {key} must be {value!r}, not {manifest.get(key)!r}")


def _check_frame(image: Image, path: Path) -> None:
    content = read_bytes(path, LARGEST)
    if len(content) % 4:
        raise ValueError(f"{path}: file must be whole 32-bit beats, not {len(content)} bytes")
    try:
        sections = parse(image.config, struct.unpack(f"<{len(content) // 4}I", content))
    except FrameError as error:
        raise ValueError(f"{path}: {error}") from error
    found = {section.kind: section.lines for section in sections}
    if found != {kind: lines for kind, lines in image.sections.items() if lines}:
        raise ValueError(f"{path}: frame must hold the lines of the .mem files")
