"""MNIST and Fashion-MNIST: the official idx files, gzipped or not."""

from math import prod
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from twofold.support.reading import LARGEST, unpack
from twofold.train.data.base import DataSet, InputFormat, PixelImages


def mnist(path: Path) -> DataSet:
    """MNIST [MNIST]: 60,000 and 10,000 images of 28x28; pixels are 8-bit integers of scale 1/255."""
    return _load("mnist", path)


def fashion_mnist(path: Path) -> DataSet:
    """Fashion-MNIST [Fashion], in the form of MNIST."""
    return _load("fashion_mnist", path)


def _load(name: str, folder: Path) -> DataSet:
    arrays: dict[str, Tensor] = {}
    for part, stem in (("train", "train"), ("test", "t10k")):
        images = read_idx(_find(folder, f"{stem}-images-idx3-ubyte"), 3)
        labels = read_idx(_find(folder, f"{stem}-labels-idx1-ubyte"), 1)
        if len(images) != len(labels):
            raise ValueError(f"{folder}: labels must be {len(images)}, not {len(labels)}")
        arrays[f"{part}_x"], arrays[f"{part}_y"] = torch.from_numpy(images)[:, None], torch.from_numpy(labels).long()
    shape = tuple(arrays["train_x"].shape[1:])
    return DataSet(
        name=name,
        train_x=PixelImages(arrays["train_x"], (0.0,), (1.0,)),
        train_y=arrays["train_y"],
        test_x=PixelImages(arrays["test_x"], (0.0,), (1.0,)),
        test_y=arrays["test_y"],
        input=InputFormat(shape, bits=8, signed=False, scale=1 / 255),
        classes=10,
    )


def _find(folder: Path, name: str) -> Path:
    for file in (folder / name, folder / f"{name}.gz"):
        if file.exists():
            return file
    raise FileNotFoundError(f"Folder must hold {name!r} or {name + '.gz'!r}, not so {str(folder)!r}")


def read_idx(file: Path, dimensions: int) -> NDArray[np.uint8]:
    """Array of an idx file of unsigned bytes.

    Raises
    ------
    ValueError
        If it is not one of that many dimensions, or is cut off.
    """
    data = unpack(file, LARGEST)
    head = 4 + 4 * dimensions
    magic = bytes((0, 0, 8, dimensions))
    if len(data) < head or data[:4] != magic:
        raise ValueError(f"{file}: file must begin with {magic.hex()}, not {data[:4].hex()}")
    shape = tuple(int(n) for n in np.frombuffer(data[4:head], dtype=">u4"))
    size = prod(shape)
    if len(data) != head + size:
        raise ValueError(f"{file}: file must have {head + size} bytes, not {len(data)}")
    return np.frombuffer(data, dtype=np.uint8, offset=head).reshape(shape).copy()
