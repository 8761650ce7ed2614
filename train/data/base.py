"""What a data set is: images, labels, and the integers that the machine sees."""

from dataclasses import dataclass, replace
from math import isfinite
from typing import Any

import torch
from torch import Tensor

from twofold.golden.number_format import NumberFormat
from twofold.train.data.augment import UNCHANGED, Augment

#: Images that are read at once where only their range is wanted.
READ = 256


@dataclass(frozen=True)
class InputFormat(NumberFormat):
    """What a network is fed with.

    Parameters
    ----------
    shape
        (channels, height, width), (channels, length), or (features,).
    bits, signed
        Integer format of the input.
    scale
        Real value of one LSB; ``None`` leaves it to calibration.
    """

    shape: tuple[int, ...]
    bits: int = 8
    signed: bool = False
    scale: float | None = None

    def __post_init__(self) -> None:
        if len(self.shape) not in (1, 2, 3) or min(self.shape) < 1:
            raise ValueError(
                f"Input shape must be (channels, height, width), (channels, length) or (features,), not {self.shape!r}"
            )

    @property
    def map_shape(self) -> tuple[int, int, int]:
        """(channels, height, width): a series is a map of height 1, features are one of a single position."""
        if len(self.shape) == 3:
            return self.shape[0], self.shape[1], self.shape[2]
        return self.shape[0], 1, self.shape[1] if len(self.shape) == 2 else 1

    @classmethod
    def from_data(cls, images: "Tensor | Images", bits: int = 8) -> "InputFormat":
        """The format whose range just holds these images: signed where a value is negative.

        Parameters
        ----------
        images : float32, shape (images, channels, height, width)
            As many as can be had: later images are clipped to their range.
        bits
            Of the integers.

        Raises
        ------
        TypeError
            If they are not real numbers.
        ValueError
            If there are none, or they hold nothing but 0, or something that is not a number.
        """
        if not len(images):
            raise ValueError("Images must be at least one, not 0")
        pairs = [extremes(images[n : n + READ]) for n in range(0, len(images), READ)]
        low, high = min(low for low, _ in pairs), max(high for _, high in pairs)
        if low == high == 0:
            raise ValueError("Images must have values to choose a scale by, not only 0")
        form = cls(tuple(images.shape[1:]), bits, signed=low < 0)
        return replace(form, scale=max(high / form.high, low / form.low if form.signed else 0.0))


@torch.no_grad()
def extremes(images: Tensor) -> tuple[float, float]:
    """Least and largest value.

    Raises
    ------
    TypeError
        If they are not real numbers.
    ValueError
        If one is not finite.
    """
    if not images.is_floating_point():
        raise TypeError(f"Images must be real numbers, not {images.dtype}")
    low, high = (float(value) for value in torch.aminmax(images))
    if not (isfinite(low) and isfinite(high)):
        raise ValueError("Images must be finite numbers, not NaN or infinite")
    return low, high


class Images:
    """Images that become tensors when indexed with a slice or an index tensor.

    Attributes
    ----------
    shape
        (images, channels, height, width).
    """

    shape: tuple[int, int, int, int]

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> Tensor:
        """Float32 images, shape (B, channels, height, width)."""
        raise NotImplementedError


class PixelImages(Images):
    """8-bit images kept as they are, normalised when read: ``(pixel / 255 - mean) / std``.

    Parameters
    ----------
    pixels : uint8, shape (images, channels, height, width)
        Images.
    mean, std
        One number a channel, for pixels of 0 to 1.
    """

    def __init__(self, pixels: Tensor, mean: tuple[float, ...], std: tuple[float, ...]):
        if pixels.dtype != torch.uint8 or pixels.dim() != 4 or pixels.shape[1] != len(mean):
            raise ValueError(
                f"Pixels must be uint8 of shape (images, {len(mean)}, height, width), "
                f"not {pixels.dtype} of {tuple(pixels.shape)}"
            )
        self.pixels = pixels
        self.shape = tuple(pixels.shape)  # type: ignore[assignment]
        self.mean = torch.tensor(mean).view(-1, 1, 1)
        self.std = torch.tensor(std).view(-1, 1, 1)

    def __getitem__(self, index: Any) -> Tensor:
        return (self.pixels[index].float() / 255 - self.mean) / self.std


def pixel_format(shape: tuple[int, int, int], mean: tuple[float, ...], std: tuple[float, ...]) -> InputFormat:
    """Format of normalised 8-bit images: signed 8 bits, one scale with which every pixel value just fits.

    The machine pads with the integer 0, which is the real 0 that the float network pads with: so zero must stay zero,
    and pixels are rounded to multiples of the scale (a table of 256 integers a channel, `InputFormat` being the only
    thing that a host must know). Mean and deviation folded into the first layer would keep the pixels, but not the
    padding: there, 0 would stand for the mean colour.
    """
    low = max(m / s for m, s in zip(mean, std, strict=True))
    high = max((1 - m) / s for m, s in zip(mean, std, strict=True))
    return InputFormat(shape, bits=8, signed=True, scale=max(low / 128, high / 127))


@dataclass(frozen=True)
class DataSet:
    """Images and labels, split once and for all.

    Parameters
    ----------
    name
        As on the command line.
    train_x, test_x : float32, shape (images, channels, height, width)
        A tensor, or `Images`, which gives such tensors when indexed.
    train_y, test_y : int64, shape (images,)
        Labels; of other tasks, what their losses take (`train.tasks`).
    input
        Shape and format of an image.
    classes
        Number of labels; the channels of the images that enhancement gives.
    augment
        What is usually done to training images.
    task
        Name in `train.tasks.TASKS`.
    names
        Of the classes, for pictures.
    """

    name: str
    train_x: Any
    train_y: Tensor
    test_x: Any
    test_y: Tensor
    input: InputFormat
    classes: int
    augment: Augment = UNCHANGED
    task: str = "classification"
    names: tuple[str, ...] = ()

    @property
    def test_integers(self) -> Tensor:
        """Held-out images as the integers that the machine takes, int64."""
        return self.integers(self.test_x[:])

    def integers(self, images: Tensor) -> Tensor:
        """Images as the integers that the machine takes, int64; what the quantized model rounds them to.

        Raises
        ------
        ValueError
            If the format has no scale, or the images are not such (`train.data.check_images`).
        """
        from twofold.train.data.checks import check_images

        if self.input.scale is None:
            raise ValueError(f"Data {self.name!r} must have a fixed input scale, not None")
        check_images(images, self.input)
        lsbs = torch.round(images / torch.tensor(self.input.scale, dtype=images.dtype))
        return lsbs.clamp(self.input.low, self.input.high).long()
