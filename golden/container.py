"""A quantized network on disk: ``network.json`` (structure) and ``tensors.safetensors`` (integers) in one folder.

The structure carries a checksum of itself and of the tensor file, so that a damaged folder is refused as a whole.
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from twofold.golden.formats import PointSet, WeightFormat
from twofold.golden.narrow import Narrow
from twofold.golden.network import Branch, Layer, Network, SkipTensor, Tensor
from twofold.golden.order import read_order
from twofold.golden.parts import Part
from twofold.golden.table import PointwiseTable
from twofold.support.digests import digest, json_digest
from twofold.support.folders import recover, replace_folder
from twofold.support.reading import LARGEST, read_bytes
from twofold.support.tables import read_json

FORMAT = "twofold-network"
#: A new number for any change of the structure; older software refuses it.
VERSION = 3
#: Versions that are read: 2 has no skips, no tables and reads all channels, 1 no paddings of four sides either.
READABLE = (1, 2, VERSION)
STRUCTURE_FILE, TENSOR_FILE = "network.json", "tensors.safetensors"


def save(network: Network, folder: Path | str) -> None:
    """Writes a network; a network already in that folder is replaced.

    Raises
    ------
    ValueError
        If the folder holds something other than a network, or `network.meta` cannot be written as JSON.
    """
    folder = Path(folder)
    if folder.exists() and not (
        folder.is_dir() and {f.name for f in folder.iterdir()} <= {STRUCTURE_FILE, TENSOR_FILE}
    ):
        raise ValueError(f"{folder}: folder must be new or hold only a network, not other files")
    tensors = _tensors(network)
    data = safetensors.numpy.save({name: np.ascontiguousarray(array) for name, array in tensors.items()})
    structure = _structure(network) | {"tensors_sha256": digest(data)}
    try:
        whole = _digest(structure)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{folder}: meta must be JSON, not this: {error}") from error
    text = json.dumps(structure | {"sha256": whole}, indent=1, default=_plain) + "\n"
    replace_folder(folder, {TENSOR_FILE: data, STRUCTURE_FILE: text.encode()})


def load(folder: Path | str) -> Network:
    """Reads a network.

    Raises
    ------
    FileNotFoundError
        If one of the two files is missing.
    ValueError
        If a file is damaged, truncated, of a newer version or something else; the message begins with its path.
    """
    recover(Path(folder))
    path, tensor_path = Path(folder) / STRUCTURE_FILE, Path(folder) / TENSOR_FILE
    for file in (path, tensor_path):
        if not file.exists():
            raise FileNotFoundError(f"{file}: file of a quantized network must exist")
    structure = read_json(path)
    found = structure.get("format") if isinstance(structure, dict) else None
    if found != FORMAT:
        raise ValueError(f"{path}: format must be {FORMAT!r}, not {found!r}")
    version = structure.get("version")
    if isinstance(version, bool) or version not in READABLE:
        raise ValueError(f"{path}: version must be one of {READABLE}, not {version!r}")
    stated = structure.pop("sha256", None)
    if stated != _digest(structure):
        raise ValueError(f"{path}: checksum must be {_digest(structure)!r}, not {stated!r}: the file is damaged")
    data = read_bytes(tensor_path, LARGEST)
    found = digest(data)
    if found != structure.get("tensors_sha256"):
        raise ValueError(
            f"{tensor_path}: checksum must be {structure.get('tensors_sha256')!r}, not {found!r}: the file is damaged"
        )
    try:
        return _network(structure, safetensors.numpy.load(data))
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, safetensors.SafetensorError) as error:
        raise ValueError(f"{path}: file must describe a network, not this: {error}") from error


def _digest(structure: dict[str, Any]) -> str:
    return json_digest(structure, default=_plain)


def _plain(value: object) -> object:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} is not JSON")


def _tensors(network: Network) -> dict[str, NDArray[Any]]:
    """Arrays by the names that stand in the file: layer number, then what."""
    tensors: dict[str, NDArray[Any]] = {}
    for n, layer in enumerate(network.layers):
        tensors |= {f"{n}.bias": layer.bias, f"{n}.multiplier": layer.multiplier, f"{n}.right": layer.right}
        tensors |= {f"{n}.codes{t}": branch.codes for t, branch in enumerate(layer.branches)}
        if layer.table is not None:
            tensors[f"{n}.table"] = layer.table.entries
    return tensors


def _structure(network: Network) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "version": VERSION,
        "name": network.name,
        "input": _tensor_fields(network.input),
        "points": {
            name: {
                "menus": points.fmt.menus,
                "index_bits": points.fmt.index_bits,
                "spare": points.fmt.spare,
                "levels": points.levels,
            }
            for name, points in network.point_sets.items()
        },
        "layers": [
            {
                "name": layer.name,
                "kind": layer.kind,
                "output": _tensor_fields(layer.output),
                "low": layer.low,
                "high": layer.high,
                "maximum": layer.maximum,
                "skip": None if layer.skip is None else {"source": layer.skip.source, "shift": layer.skip.shift},
                "table": None if layer.table is None else _table_fields(layer.table),
                "parts": [asdict(part) for part in layer.parts],
                "terms": [
                    {
                        "source": branch.source,
                        "points": branch.point_set,
                        "shifts": branch.shifts,
                        "stride": branch.stride,
                        "padding": branch.padding,
                        "dilation": branch.dilation,
                        "groups": branch.groups,
                        "channel": branch.channel,
                        "channels": branch.channels,
                        **({} if branch.narrow is None else {"narrow": asdict(branch.narrow)}),
                    }
                    for branch in layer.branches
                ],
            }
            for layer in network.layers
        ],
        "outputs": network.heads,
        **({"orders": {name: asdict(order) for name, order in network.orders.items()}} if network.orders else {}),
        "meta": dict(network.meta),
    }


def _tensor_fields(tensor: Tensor) -> dict[str, Any]:
    return {"shape": tensor.shape, "bits": tensor.bits, "signed": tensor.signed, "scale": tensor.scale}


def _table_fields(table: PointwiseTable) -> dict[str, Any]:
    return {"bits": table.bits, "signed": table.signed, "scale": table.scale}


def _network(structure: dict[str, Any], tensors: dict[str, NDArray[Any]]) -> Network:
    points = {
        name: PointSet(
            WeightFormat(tuple(map(tuple, fields["menus"])), fields["index_bits"], fields["spare"]),
            tuple(fields["levels"]),
        )
        for name, fields in structure["points"].items()
    }
    layers = tuple(
        Layer(
            name=fields["name"],
            kind=fields["kind"],
            branches=tuple(_branch(branch, tensors[f"{n}.codes{t}"]) for t, branch in enumerate(fields["terms"])),
            output=_tensor(fields["output"]),
            bias=tensors[f"{n}.bias"],
            multiplier=tensors[f"{n}.multiplier"],
            right=tensors[f"{n}.right"],
            low=fields["low"],
            high=fields["high"],
            maximum=fields["maximum"],
            skip=_skip(fields["skip"]) if structure["version"] > 2 else None,
            table=_table(fields["table"], tensors, n) if structure["version"] > 2 else None,
            parts=tuple(Part(**{key: tuple(pair) for key, pair in part.items()}) for part in fields.get("parts", ())),
        )
        for n, fields in enumerate(structure["layers"])
    )
    heads = tuple(structure.get("outputs", ())) if structure["version"] > 2 else ()
    orders = {name: read_order(fields) for name, fields in structure.get("orders", {}).items()}
    return Network(structure["name"], _tensor(structure["input"]), layers, points, structure["meta"], heads, orders)


def _tensor(fields: dict[str, Any]) -> Tensor:
    return Tensor(tuple(fields["shape"]), fields["bits"], fields["signed"], fields["scale"])


def _skip(fields: dict[str, Any] | None) -> SkipTensor | None:
    return None if fields is None else SkipTensor(fields["source"], fields["shift"])


def _table(fields: dict[str, Any] | None, tensors: dict[str, NDArray[Any]], number: int) -> PointwiseTable | None:
    return None if fields is None else PointwiseTable(**fields, entries=tensors[f"{number}.table"])


def _branch(fields: dict[str, Any], codes: NDArray[np.uint8]) -> Branch:
    pairs = {key: tuple(fields[key]) for key in ("shifts", "stride", "padding", "dilation")}
    others = {key: value for key, value in (fields | pairs).items() if key not in ("points", "channels", "narrow")}
    channels = fields.get("channels")
    chosen = None if channels is None else tuple(channels)
    narrow = Narrow(**fields["narrow"]) if "narrow" in fields else None
    return Branch(**others, point_set=fields["points"], codes=codes, channels=chosen, narrow=narrow)
