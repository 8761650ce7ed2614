"""Tensors in one safetensors file, with what is not a tensor as JSON in its header, and a checksum over both."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from twofold.support.digests import digest
from twofold.support.files import write_bytes
from twofold.support.reading import LARGEST, check_file
from twofold.support.tables import parse_json


def write_tensors(file: Path, key: str, header: dict[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Write a file in one step; an interrupted write leaves the older one.

    Parameters
    ----------
    file
        Its folder is made where it does not exist.
    key
        Name of the header among the file's metadata.
    header
        What JSON can hold, with a ``version``.
    tensors
        Of any device.
    """
    stored = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    write_bytes(file, save(stored, metadata=sign(header, stored, key)))


def read_tensors(
    file: Path, key: str, what: str, kinds: Mapping[str, type], version: int
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Header and tensors of a file.

    Parameters
    ----------
    key
        As in `write_tensors`.
    what
        The file must be, for messages.
    kinds
        What the header must hold, by its keys.
    version
        The only one that is read.

    Raises
    ------
    ValueError
        If the file is damaged, of another kind or of another version.
    """
    check_file(file, LARGEST)
    try:
        with safe_open(file, "pt") as opened:
            metadata = opened.metadata() or {}
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}
        header = parse_json(metadata[key])
    except (SafetensorError, KeyError, RecursionError, ValueError) as error:
        raise ValueError(f"{file}: file must be {what}, not damaged: {error}") from error
    for name, kind in kinds.items():
        if not isinstance(header, dict) or type(header.get(name)) is not kind:
            raise ValueError(f"{file}: file must be {what}, not damaged: no {name}")
        if name == "version" and header[name] != version:
            raise ValueError(f"{file}: version must be {version}, not {header[name]!r}")
    wanted = sign(header, tensors, key)["sha256"]
    if metadata.get("sha256") != wanted:
        raise ValueError(f"{file}: checksum must be {wanted!r}, not {metadata.get('sha256')!r}: the file is damaged")
    return header, tensors


def sign(header: dict[str, Any], tensors: Mapping[str, Tensor], key: str) -> dict[str, str]:
    """A file's metadata: the header, and the digest of it and of the tensors."""
    text = json.dumps(header)

    def parts() -> Iterator[bytes]:
        yield text.encode()
        for name, tensor in sorted(tensors.items()):
            yield f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode()
            yield tensor.reshape(-1).view(torch.uint8).numpy().tobytes()

    return {key: text, "sha256": digest(parts())}
