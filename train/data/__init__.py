"""Data sets by name: tensors or lazily read images, with the integer format that the machine takes them in."""

from collections.abc import Callable
from pathlib import Path

from twofold.train.data.augment import Augment, shift_images
from twofold.train.data.base import DataSet, Images, InputFormat, PixelImages
from twofold.train.data.camvid import camvid
from twofold.train.data.checks import check_images
from twofold.train.data.cifar import cifar10, cifar100
from twofold.train.data.coco import bccd
from twofold.train.data.folders import imagenet
from twofold.train.data.handwritten import handwritten_digits
from twofold.train.data.idx import fashion_mnist, mnist
from twofold.train.data.low_light import camvid_dark

#: Data sets that need no files.
BUILT_IN: dict[str, Callable[[], DataSet]] = {"digits": handwritten_digits}
#: Data sets read from a path.
BY_PATH: dict[str, Callable[[Path], DataSet]] = {
    "bccd": bccd,
    "camvid": camvid,
    "camvid_dark": camvid_dark,
    "cifar10": cifar10,
    "cifar100": cifar100,
    "fashion_mnist": fashion_mnist,
    "imagenet": imagenet,
    "mnist": mnist,
}
#: Names of all data sets.
DATA = (*BUILT_IN, *BY_PATH)

__all__ = [
    "DATA",
    "Augment",
    "DataSet",
    "Images",
    "InputFormat",
    "PixelImages",
    "check_images",
    "handwritten_digits",
    "load_data",
    "shift_images",
]


def load_data(name: str, path: Path | str | None = None) -> DataSet:
    """Data set of that name.

    Parameters
    ----------
    name
        One of `DATA`.
    path
        File or folder that holds it; not for the built-in ones.

    Raises
    ------
    FileNotFoundError
        If the path has no such files.
    ValueError
        If there is no such data set, a path is missing or not wanted, or the files are damaged.
    """
    if name in BUILT_IN:
        if path is not None:
            raise ValueError(f"Data {name!r} must be given no path, not {str(path)!r}")
        return BUILT_IN[name]()
    if name not in BY_PATH:
        raise ValueError(f"Data must be one of {DATA}, not {name!r}")
    if path is None:
        raise ValueError(f"Data {name!r} must be given a path, not None")
    return BY_PATH[name](Path(path))
