"""Images in folders, as ImageNet [ImageNet] is kept: ``train/<class>/*.JPEG`` and ``val/<class>/*.JPEG``."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from twofold.train.data.augment import Augment
from twofold.train.data.base import DataSet, Images, pixel_format
from twofold.train.data.image_files import read_image

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
#: The shorter side is resized to this, and the middle square of `SIDE` pixels is taken.
RESIZE, SIDE = 256, 224
_SUFFIXES = (".jpeg", ".jpg", ".png", ".bmp")


class FolderImages(Images):
    """Image files, read when indexed: shorter side to `resize`, the middle square, normalised.

    Parameters
    ----------
    files
        One image each.
    side, resize
        Pixels.
    """

    def __init__(self, files: list[Path], *, side: int = SIDE, resize: int = RESIZE):
        self.files, self.side, self.resize = files, side, resize
        self.shape = (len(files), 3, side, side)
        self.mean, self.std = torch.tensor(MEAN).view(-1, 1, 1), torch.tensor(STD).view(-1, 1, 1)

    def __getitem__(self, index: Any) -> Tensor:
        places = range(len(self.files))[index] if isinstance(index, slice) else [int(n) for n in index]
        pixels = np.empty((len(places), 3, self.side, self.side), dtype=np.uint8)
        for row, place in enumerate(places):
            pixels[row] = self._read(self.files[place])
        return (torch.from_numpy(pixels).float() / 255 - self.mean) / self.std

    def _read(self, file: Path) -> Any:
        image = read_image(file)
        width, height = image.size
        factor = self.resize / min(width, height)
        image = image.resize((round(width * factor), round(height * factor)), Image.Resampling.BILINEAR)
        left, top = (image.width - self.side) // 2, (image.height - self.side) // 2
        image = image.crop((left, top, left + self.side, top + self.side))
        return np.asarray(image).transpose(2, 0, 1)


def imagenet(path: Path, *, side: int = SIDE, resize: int = RESIZE) -> DataSet:
    """Folders ``train`` and ``val`` with one folder a class; classes are numbered in the order of their names.

    Random crops shift the middle square (`Augment`); there is no change of size or aspect.
    """
    classes = _classes(path / "train")
    parts = {}
    for part in ("train", "val"):
        if _classes(path / part) != classes:
            raise ValueError(f"{path / part}: folders must be those of {path / 'train'}, one a class")
        pairs = [
            (file, label)
            for label, name in enumerate(classes)
            for file in sorted((path / part / name).iterdir())
            if file.suffix.lower() in _SUFFIXES
        ]
        if not pairs:
            raise FileNotFoundError(f"Folder must hold images ({', '.join(_SUFFIXES)}), not none: {str(path / part)!r}")
        labels = torch.tensor([label for _, label in pairs], dtype=torch.int64)
        parts[part] = FolderImages([file for file, _ in pairs], side=side, resize=resize), labels
    (train_x, train_y), (test_x, test_y) = parts["train"], parts["val"]
    return DataSet(
        name="imagenet",
        train_x=train_x,
        train_y=train_y,
        test_x=test_x,
        test_y=test_y,
        input=pixel_format((3, side, side), MEAN, STD),
        classes=len(classes),
        augment=Augment(shift=side // 8, flip=True),
    )


def _classes(folder: Path) -> list[str]:
    if not folder.is_dir():
        raise FileNotFoundError(f"Folder must hold 'train' and 'val', not so {str(folder.parent)!r}")
    return sorted(entry.name for entry in folder.iterdir() if entry.is_dir())
