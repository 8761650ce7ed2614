"""Images with boxes in COCO's JSON [COCO]: ``train.json`` and ``test.json``, whose file names are relative to them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from twofold.support.tables import read_json
from twofold.train.data.augment import Augment
from twofold.train.data.base import DataSet, PixelImages, pixel_format
from twofold.train.data.camvid import as_tensor
from twofold.train.data.folders import MEAN, STD
from twofold.train.data.image_files import read_image

#: (width, height) that blood cells' images are resized to.
SIZE = (160, 120)


def bccd(path: Path, *, size: tuple[int, int] = SIZE) -> DataSet:
    """Red and white blood cells and platelets [BCCD]; training on ``train.json``, held-out images from ``test.json``.

    Targets are float32 of shape (images, most, 5): a class from 1 on (0: no box), then left, top, right and bottom as
    parts of the image's sides.

    Raises
    ------
    FileNotFoundError
        If a file is missing.
    ValueError
        If it is damaged, or a box is not within its image.
    """
    (names, train_x, train_y), (others, test_x, test_y) = (_read(path / f"{part}.json", size) for part in _PARTS)
    if names != others:
        raise ValueError(f"{path / 'test.json'}: categories must be those of train.json, {names}, not {others}")
    return DataSet(
        name="bccd",
        train_x=PixelImages(train_x, MEAN, STD),
        train_y=train_y,
        test_x=PixelImages(test_x, MEAN, STD),
        test_y=test_y,
        input=pixel_format((3, size[1], size[0]), MEAN, STD),
        classes=len(names) + 1,
        augment=Augment(flip=True),
        task="detection",
        names=names,
    )


_PARTS = ("train", "test")
#: Keys of the tables that are read, and what they must be.
_IMAGE = {"id": int, "file_name": str, "width": int, "height": int}
_BOX = {"image_id": int, "category_id": int, "bbox": list}


def _read(file: Path, size: tuple[int, int]) -> tuple[tuple[str, ...], Tensor, Tensor]:
    """Names of the classes, pixels, and boxes of the images in a file."""
    table = read_json(file)
    try:
        classes = {one["id"]: one["name"] for one in _tables(table, "categories", {"id": int, "name": str})}
        places = {one["id"]: one for one in _tables(table, "images", _IMAGE)}
        numbers = {key: number for number, key in enumerate(sorted(classes), 1)}
        boxes: dict[int, list[list[float]]] = {key: [] for key in places}
        for one in _tables(table, "annotations", _BOX):
            if one["image_id"] not in places or one["category_id"] not in numbers:
                raise ValueError(f"annotation must be of an image and a category that there are, not {one!r}")
            boxes[one["image_id"]].append(
                [numbers[one["category_id"]], *_corners(one["bbox"], places[one["image_id"]])]
            )
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error
    images = [read_image(file.parent / one["file_name"]) for one in places.values()]
    pixels = torch.stack([as_tensor(image.resize(size, Image.Resampling.BOX)) for image in images])
    targets = torch.zeros(len(boxes), max(1, *(len(rows) for rows in boxes.values())), 5)
    for target, rows in zip(targets, boxes.values(), strict=True):
        if rows:
            target[: len(rows)] = torch.tensor(rows)
    return tuple(classes[key] for key in sorted(classes)), pixels, targets


def _tables(table: Any, key: str, kinds: Mapping[str, type]) -> list[dict[str, Any]]:
    """A list of tables that have at least these keys, each of its kind."""
    found = table.get(key) if isinstance(table, dict) else None
    if not isinstance(found, list) or not found:
        raise ValueError(f"key {key!r} must be a list of tables, not {type(found).__name__}")
    for one in found:
        if not isinstance(one, dict) or any(type(one.get(name)) is not kind for name, kind in kinds.items()):
            wanted = ", ".join(f"{name} ({kind.__name__})" for name, kind in kinds.items())
            raise ValueError(f"{key} must have {wanted}, not {one!r}")
    return found


def _corners(box: list[Any], image: dict[str, Any]) -> list[float]:
    """Left, top, right and bottom as parts of the sides, of a box (left, top, width, height) in pixels."""
    if len(box) != 4 or any(type(value) not in (int, float) for value in box):
        raise ValueError(f"bbox must be left, top, width and height, not {box!r}")
    left, top, wide, high = (float(value) for value in box)
    width, height = image["width"], image["height"]
    if min(left, top) < 0 or min(wide, high) <= 0 or left + wide > width + 1 or top + high > height + 1:
        raise ValueError(f"bbox must lie within the image of {width}x{height}, not {box!r}")
    return [left / width, top / height, min(1.0, (left + wide) / width), min(1.0, (top + high) / height)]
