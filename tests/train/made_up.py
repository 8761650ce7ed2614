"""Data of tasks by path, made up: a few small images, of what stands on them what the files say."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from twofold.train.data.camvid import CLASSES


def roads(folder: Path) -> None:
    """Four training and two held-out images in the form of CamVid: blocks of a colour for each class."""
    rng = np.random.default_rng(0)
    for part, count in (("train", 4), ("test", 2)):
        for sub in (part, f"{part}_labels"):
            (folder / sub).mkdir(parents=True)
        for number in range(count):
            labels = rng.integers(0, len(CLASSES) + 1, (3, 4), dtype=np.uint8).repeat(60, 0).repeat(60, 1)
            colours = np.stack([labels * 20, 255 - labels * 20, labels * 7], -1).astype(np.uint8)
            Image.fromarray(colours).save(folder / part / f"{number}.png")
            Image.fromarray(labels).save(folder / f"{part}_labels" / f"{number}.png")


def cells(folder: Path) -> dict[str, dict[str, Any]]:
    """Two training and two held-out images of 64x48 in the form of COCO, and their tables: things of two colours."""
    rng, tables = np.random.default_rng(1), {}
    categories = [{"id": 4, "name": "round"}, {"id": 7, "name": "square"}]
    for part in ("train", "test"):
        (folder / part).mkdir(parents=True)
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for number in range(2):
            pixels = np.full((48, 64, 3), 200, dtype=np.uint8)
            for place in range(3 - number):
                left, top = 2 + 20 * place, int(rng.integers(4, 24))
                width, height = int(rng.integers(11, 15)), int(rng.integers(9, 14))
                kind = categories[(place + number) % 2]["id"]
                pixels[top : top + height, left : left + width] = (250, 40, 20) if kind == 4 else (10, 60, 220)
                box = [left, top, width, height]
                annotations.append({"image_id": 10 + number, "category_id": kind, "bbox": box})
            Image.fromarray(pixels).save(folder / part / f"{number}.png")
            images.append({"id": 10 + number, "file_name": f"{part}/{number}.png", "width": 64, "height": 48})
        tables[part] = {"images": images, "annotations": annotations, "categories": categories}
        (folder / f"{part}.json").write_text(json.dumps(tables[part]), encoding="utf-8")
    return tables
