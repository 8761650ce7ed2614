"""Random crops and flips."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Augment:
    """What is done to each training image.

    Parameters
    ----------
    shift
        Move by up to so many pixels up, down, left and right: a random crop of the image padded with zeros.
    flip
        Mirror every other image, at random, left to right.
    """

    shift: int = 0
    flip: bool = False

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Changed images; the generator's numbers depend on nothing but the number of images."""
        if self.shift:
            images = shift_images(images, generator, self.shift)
        if self.flip:
            images = flip_images(images, generator)
        return images


def shift_images(images: Tensor, generator: torch.Generator, pixels: int) -> Tensor:
    """Each image moved by up to `pixels` up, down, left and right, zeros moving in."""
    height, width = images.shape[-2:]
    padded = torch.nn.functional.pad(images, (pixels,) * 4)
    moves = torch.randint(0, 2 * pixels + 1, (len(images), 2), generator=generator)
    rows = moves[:, :1] + torch.arange(height)
    columns = moves[:, 1:] + torch.arange(width)
    index = torch.arange(len(images))[:, None, None]
    return padded.permute(0, 2, 3, 1)[index, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).contiguous()


def flip_images(images: Tensor, generator: torch.Generator) -> Tensor:
    """Each image mirrored left to right, or not, by the toss of a coin."""
    heads = torch.rand(len(images), generator=generator) < 0.5
    return torch.where(heads.view(-1, 1, 1, 1), images.flip(-1), images)
