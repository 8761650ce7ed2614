"""Road scenes [CamVid] in the split and the classes of [SegNet]: folders ``train`` and ``train_labels``, and so on.

``SPLIT/NAME.jpg`` has its labels in ``SPLIT_labels/NAME.png``, one byte a pixel: a class, or the number of classes for
what belongs to none.
"""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from twofold.train.data.augment import Augment
from twofold.train.data.base import DataSet, PixelImages, pixel_format
from twofold.train.data.folders import MEAN, STD
from twofold.train.data.image_files import read_image

CLASSES = ("sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist")
#: Label of pixels that belong to no class (`train.tasks.segmentation.VOID`), which the files call 11.
VOID = 255
#: (width, height) that images are resized to; multiples of 16.
SIZE = (192, 144)
_SUFFIXES = (".jpg", ".jpeg", ".png")


def camvid(path: Path, *, size: tuple[int, int] = SIZE) -> DataSet:
    """Training on ``train``, held-out images from ``test``; images are averaged down, labels are the nearest ones.

    Raises
    ------
    FileNotFoundError
        If a folder or an image's labels are missing.
    ValueError
        If a file is no image, sizes differ, or a label is none of the classes.
    """
    parts = {}
    for part in ("train", "test"):
        pairs = [_read(path / part, file, size) for file in image_files(path / part)]
        pixels, labels = (torch.stack(tensors) for tensors in zip(*pairs, strict=True))
        parts[part] = PixelImages(pixels, MEAN, STD), labels
    (train_x, train_y), (test_x, test_y) = parts["train"], parts["test"]
    return DataSet(
        name="camvid",
        train_x=train_x,
        train_y=train_y,
        test_x=test_x,
        test_y=test_y,
        input=pixel_format((3, size[1], size[0]), MEAN, STD),
        classes=len(CLASSES),
        augment=Augment(shift=16, flip=True),
        task="segmentation",
        names=CLASSES,
    )


def image_files(folder: Path) -> list[Path]:
    """The images in a folder, by name.

    Raises
    ------
    FileNotFoundError
        If there are none.
    """
    found = [file for file in folder.iterdir() if file.suffix.lower() in _SUFFIXES] if folder.is_dir() else []
    if not found:
        raise FileNotFoundError(f"Folder must hold images ({', '.join(_SUFFIXES)}), not none: {str(folder)!r}")
    return sorted(found)


def as_tensor(image: Image.Image) -> Tensor:
    """Pixels, uint8, channels first."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()


def _read(folder: Path, file: Path, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Pixels and labels of an image."""
    image = read_image(file)
    return as_tensor(image.resize(size, Image.Resampling.BOX)), _labels(folder, file, image.size, size)


def _labels(folder: Path, image: Path, whole: tuple[int, int], size: tuple[int, int]) -> Tensor:
    file = folder.with_name(f"{folder.name}_labels") / f"{image.stem}.png"
    if not file.is_file():
        raise FileNotFoundError(f"Image {str(image)!r} must have its labels in {str(file)!r}, which is not there")
    read = read_image(file, None)
    if read.mode != "L":
        raise ValueError(f"{file}: labels must be one byte a pixel, not an image of mode {read.mode!r}")
    if read.size != whole:
        raise ValueError(f"{file}: labels must be of the image's size, {whole}, not {read.size}")
    labels = np.array(read.resize(size, Image.Resampling.NEAREST))
    if labels.max() > len(CLASSES):
        raise ValueError(f"{file}: labels must be 0 to {len(CLASSES)}, not {labels.max()}")
    return torch.from_numpy(np.where(labels == len(CLASSES), VOID, labels).astype(np.uint8))
