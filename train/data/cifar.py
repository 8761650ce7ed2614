"""CIFAR-10 and CIFAR-100: an npz file, or the official python batches."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from twofold.golden.arrays import read_npz
from twofold.train.data.augment import Augment
from twofold.train.data.base import DataSet, PixelImages, pixel_format
from twofold.train.data.batches import read_batch

#: Normalisation that published CIFAR-10 networks expect most often (that of ImageNet).
CIFAR10_MEAN, CIFAR10_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CIFAR100_MEAN, CIFAR100_STD = (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)
_BATCHES_10 = (tuple(f"data_batch_{n}" for n in range(1, 6)), ("test_batch",))
_BATCHES_100 = (("train",), ("test",))
_KEYS = ("train_x", "train_y", "test_x", "test_y")


def cifar10(path: Path) -> DataSet:
    """CIFAR-10 [CIFAR]: 50,000 and 10,000 images of 32x32.

    Parameters
    ----------
    path
        An npz file with uint8 NCHW arrays ``train_x`` and ``test_x`` and labels ``train_y`` and ``test_y``, a folder
        that holds ``cifar10.npz``, or the official ``cifar-10-batches-py``.
    """
    arrays = _read(path, "cifar10.npz", _BATCHES_10, "labels")
    return _data_set("cifar10", path, arrays, 10, CIFAR10_MEAN, CIFAR10_STD)


def cifar100(path: Path) -> DataSet:
    """CIFAR-100 [CIFAR], fine labels; `path` as for `cifar10` (``cifar100.npz``, ``cifar-100-python``)."""
    arrays = _read(path, "cifar100.npz", _BATCHES_100, "fine_labels")
    return _data_set("cifar100", path, arrays, 100, CIFAR100_MEAN, CIFAR100_STD)


def _read(
    path: Path, npz: str, batches: tuple[tuple[str, ...], tuple[str, ...]], labels: str
) -> dict[str, NDArray[Any]]:
    file = path / npz if path.is_dir() else path
    if file.exists() and not file.is_dir():
        return _read_npz(file)
    arrays = {}
    for part, names in zip(("train", "test"), batches, strict=True):
        for name in names:
            if not (path / name).exists():
                raise FileNotFoundError(
                    f"Path must be an npz file or a folder with {npz!r} or {name!r}, not {str(path)!r}"
                )
        read = [_batch(path / name, labels) for name in names]
        arrays[f"{part}_x"] = np.concatenate([images for images, _ in read])
        arrays[f"{part}_y"] = np.concatenate([numbers for _, numbers in read])
    return arrays


def _read_npz(file: Path) -> dict[str, NDArray[Any]]:
    arrays = read_npz(file)
    if not set(_KEYS) <= set(arrays):
        raise ValueError(f"{file}: file must be an npz with arrays {_KEYS}, not {tuple(arrays)}")
    return arrays


def _batch(file: Path, labels: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    table = read_batch(file)
    images, numbers = table.get("data"), table.get(labels)
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8 or images.shape[1:] != (3072,):
        raise ValueError(f"{file}: 'data' must be uint8 of shape (images, 3072)")
    if not isinstance(numbers, list) or len(numbers) != len(images) or any(type(n) is not int for n in numbers):
        raise ValueError(f"{file}: {labels!r} must be a list of {len(images)} integers")
    return images.reshape(-1, 3, 32, 32), np.array(numbers, dtype=np.int64)


def _data_set(
    name: str,
    path: Path,
    arrays: dict[str, NDArray[Any]],
    classes: int,
    mean: tuple[float, ...],
    std: tuple[float, ...],
) -> DataSet:
    for part in ("train", "test"):
        x, y = arrays[f"{part}_x"], arrays[f"{part}_y"]
        if x.dtype != np.uint8 or x.shape[1:] != (3, 32, 32) or y.shape != (len(x),) or not len(x):
            raise ValueError(f"{path}: {part}_x must be uint8 of shape (images, 3, 32, 32), with a label each")
        if not np.issubdtype(y.dtype, np.integer) or y.min() < 0 or y.max() >= classes:
            raise ValueError(f"{path}: {part}_y must be integers of 0 to {classes - 1}")
    return DataSet(
        name=name,
        train_x=PixelImages(torch.from_numpy(arrays["train_x"]), mean, std),
        train_y=torch.from_numpy(arrays["train_y"].astype(np.int64)),
        test_x=PixelImages(torch.from_numpy(arrays["test_x"]), mean, std),
        test_y=torch.from_numpy(arrays["test_y"].astype(np.int64)),
        input=pixel_format((3, 32, 32), mean, std),
        classes=classes,
        augment=Augment(shift=4, flip=True),
    )
