"""A trial's training, and the entry that it gives."""

import time
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import Progress

from twofold.bench.claims.trials import Claim, Trial
from twofold.bench.results.measure import commit
from twofold.bench.tools.entries import Entry
from twofold.bench.tools.float_network import float_network
from twofold.golden.config import load_config
from twofold.support.output import build_folder
from twofold.train.data import DataSet, load_data
from twofold.train.data.base import PixelImages
from twofold.train.loop import predict
from twofold.train.pipelines import apply

FOLDER = build_folder("claims")
#: Training images that are held out where a group is judged by them, and the seed that draws them.
HELD_OUT, DRAW = 5000, 1234


def row_name(group: str, trial: str, seed: int) -> str:
    """Name of a row, and of its entry."""
    return f"{group}/{trial}/{seed}"


def key(entry: Entry) -> str:
    """What tells an entry from others."""
    return row_name(entry["group"], entry["name"], entry["seed"])


def load(folder: Path) -> dict[str, DataSet]:
    """The data as each kind of group is judged on it (`Claim.judged`)."""
    data = load_data("cifar10", folder / "cifar10")
    order = torch.randperm(len(data.train_x), generator=torch.Generator().manual_seed(DRAW))
    held, kept = order[:HELD_OUT], order[HELD_OUT:]
    images = data.train_x
    within = replace(
        data,
        train_x=_part(images, kept),
        train_y=data.train_y[kept],
        test_x=_part(images, held),
        test_y=data.train_y[held],
    )
    return {"test": data, "train": within}


def measure(
    group: Claim, trial: Trial, seed: int, data: DataSet, folder: Path, progress: Progress | None = None
) -> Entry:
    """Train a trial and evaluate it; which images were right is kept in `FOLDER`, for `compared`.

    Parameters
    ----------
    data
        As the group is judged on it.
    folder
        Has the float network's weights.
    """
    start = time.process_time()
    model = float_network(group.network, data, folder)
    found = apply(model, data, trial.recipe(group.steps, seed), load_config(group.config), progress=progress)
    seconds = time.process_time() - start
    right = (predict(found.model, data.test_x).argmax(1) == data.test_y).numpy()
    FOLDER.mkdir(parents=True, exist_ok=True)
    np.save(_bits(group.key, trial.name, seed), right)
    return {
        "group": group.key,
        "name": trial.name,
        "seed": seed,
        "accuracy": float(right.mean()),
        "float_accuracy": found.float_accuracy,
        "images": len(right),
        "steps": group.steps if found.recipe.method == "qat" else 0,
        "seconds": round(seconds),
        "date": date.today().isoformat(),
        "commit": commit(),
    }


def compared(group: Claim, entry: Entry) -> tuple[int, int] | None:
    """Images that an entry has right and the group's baseline not, and the other way round; `None`: not known."""
    files = [_bits(group.key, name, entry["seed"]) for name in (entry["name"], group.trials[0].name)]
    if not all(file.is_file() for file in files):
        return None
    own, base = (np.load(file, allow_pickle=False) for file in files)
    return int((own & ~base).sum()), int((base & ~own).sum())


def _bits(group: str, name: str, seed: int) -> Path:
    plain = "".join(letter if letter.isalnum() else "_" for letter in name)
    return FOLDER / f"{group}-{plain}-{seed}.npy"


def _part(images: Any, index: torch.Tensor) -> Any:
    """Those images, in the same form."""
    if not isinstance(images, PixelImages):
        return images[index]
    mean, std = (tuple(values.flatten().tolist()) for values in (images.mean, images.std))
    return PixelImages(images.pixels[index], mean, std)
