"""Scikit-learn's handwritten digits."""

from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray

from twofold.train.data.base import DataSet, InputFormat


@cache
def _read_texts() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Pixels and digits, read once a process: scikit-learn has them as text."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return bunch.images, bunch.target


def handwritten_digits() -> DataSet:
    """Scikit-learn's 1,797 handwritten digits, 8x8 pixels of 0 to 16; a stratified third (599) is held out.

    The split depends on nothing but the data: within each label every third image is held out, from a fixed shuffle.
    """
    pixels, digits = _read_texts()
    images = torch.tensor(pixels, dtype=torch.float32).unsqueeze(1) / 16
    labels = torch.tensor(digits, dtype=torch.int64)
    order = np.random.default_rng(0).permutation(len(labels))
    order = order[np.argsort(digits[order], kind="stable")]
    held_out = np.zeros(len(labels), dtype=bool)
    held_out[order[::3]] = True
    train, test = torch.tensor(np.flatnonzero(~held_out)), torch.tensor(np.flatnonzero(held_out))
    return DataSet(
        name="digits",
        train_x=images[train],
        train_y=labels[train],
        test_x=images[test],
        test_y=labels[test],
        input=InputFormat((1, 8, 8), bits=8, signed=False, scale=1 / 16),
        classes=10,
    )
