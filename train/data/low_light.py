"""Low-light raw images simulated from daylight ones, after [SID]: a Bayer mosaic, exposed for too short a time.

Pixels are made linear (gamma 2.2) and each position of the mosaic keeps one colour (red, green, green, blue). White is
`WHITE` less `BLACK` numbers of the sensor in daylight; a hundredth of that light is left. Electrons are counted (shot
noise: Poisson), read noise (normal) and the black level are added, and the result is rounded to 14 bits. A network is
fed with what remains above the black level, times the missing exposure, clipped to 0 and 1: four channels of half the
side. Its target is the daylight image.
"""

from pathlib import Path

import torch
from torch import Tensor

from twofold.train.data.base import DataSet, InputFormat
from twofold.train.data.camvid import as_tensor, image_files
from twofold.train.data.image_files import read_image

#: (width, height) of the middle that is taken of each image; multiples of 32.
SIZE = (224, 160)
#: Numbers that the sensor gives in the dark and at most.
BLACK, WHITE = 512, 16383
#: Exposure that is missing; electrons for one number; standard deviation of read noise, in numbers.
RATIO, ELECTRONS, READ = 100, 1.0, 2.0
#: Seeds of the noise of training and of held-out images.
SEEDS = (0, 1)


def camvid_dark(path: Path, *, size: tuple[int, int] = SIZE) -> DataSet:
    """CamVid's ``train`` and ``test`` images in the dark; the noise is the same each time.

    Raises
    ------
    FileNotFoundError
        If a folder has no images.
    ValueError
        If a file is no image, or is smaller than what is taken of it.
    """
    parts = []
    for part, seed in zip(("train", "test"), SEEDS, strict=True):
        bright = torch.stack([_middle(file, size) for file in image_files(path / part)])
        parts += [amplified(dark(bright, torch.Generator().manual_seed(seed))), bright]
    train_x, train_y, test_x, test_y = parts
    return DataSet(
        name="camvid_dark",
        train_x=train_x,
        train_y=train_y,
        test_x=test_x,
        test_y=test_y,
        input=InputFormat(tuple(train_x.shape[1:]), bits=8, signed=False, scale=1 / 255),
        classes=3,
        task="enhancement",
    )


def dark(images: Tensor, generator: torch.Generator) -> Tensor:
    """Raw numbers of the sensor.

    Parameters
    ----------
    images : uint8, shape (B, 3, H, W)
        In daylight; H and W are even.
    generator
        Of the noise.

    Returns
    -------
    float32, shape (B, 4, H / 2, W / 2): red, green beside red, green beside blue, blue.
    """
    light = (images.float() / 255) ** 2.2
    mosaic = (light[:, 0, ::2, ::2], light[:, 1, ::2, 1::2], light[:, 1, 1::2, ::2], light[:, 2, 1::2, 1::2])
    expected = torch.stack(mosaic, 1) * ((WHITE - BLACK) / RATIO)
    counted = torch.poisson(expected * ELECTRONS, generator) / ELECTRONS
    noise = READ * torch.randn(expected.shape, generator=generator)
    return (counted + noise + BLACK).round().clamp(0, WHITE)


def amplified(raw: Tensor) -> Tensor:
    """What a network is fed with, 0 to 1."""
    return ((raw - BLACK) * (RATIO / (WHITE - BLACK))).clamp(0, 1)


def _middle(file: Path, size: tuple[int, int]) -> Tensor:
    """Pixels of the middle of an image."""
    image = read_image(file)
    if image.width < size[0] or image.height < size[1]:
        raise ValueError(
            f"{file}: image must have at least {size[0]}x{size[1]} pixels, not {image.width}x{image.height}"
        )
    left, top = (image.width - size[0]) // 2, (image.height - size[1]) // 2
    return as_tensor(image.crop((left, top, left + size[0], top + size[1])))
