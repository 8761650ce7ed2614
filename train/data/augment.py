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

    def __bool__(self) -> bool:
        """Whether anything is done."""
        return bool(self.shift or self.flip)

    def __call__(
        self, images: Tensor, generator: torch.Generator, *, count: int | None = None, part: slice | None = None
    ) -> Tensor:
        """Changed images.

        Parameters
        ----------
        images : shape (B, C, H, W)
            Images `part` of a batch of `count`; by default the whole batch.
        generator
            Gives numbers for the whole batch, whatever its part is.
        """
        count, part = count or len(images), part or slice(None)
        if self.shift:
            moves = torch.randint(0, 2 * self.shift + 1, (count, 2), generator=generator)
            images = move_images(images, moves[part], self.shift)
        if self.flip:
            heads = torch.rand(count, generator=generator)[part] < 0.5
            images = torch.where(heads.view(-1, 1, 1, 1), images.flip(-1), images)
        return images


#: Images as they are.
UNCHANGED = Augment()


def shift_images(images: Tensor, generator: torch.Generator, pixels: int) -> Tensor:
    """Each image moved by up to `pixels` up, down, left and right, zeros moving in."""
    return Augment(shift=pixels)(images, generator)


def move_images(images: Tensor, moves: Tensor, pixels: int) -> Tensor:
    """Each image's window at (row, column) `moves` of the image padded with `pixels` zeros on all sides."""
    height, width = images.shape[-2:]
    padded = torch.nn.functional.pad(images, (pixels,) * 4)
    rows = moves[:, :1] + torch.arange(height)
    columns = moves[:, 1:] + torch.arange(width)
    index = torch.arange(len(images))[:, None, None]
    return padded.permute(0, 2, 3, 1)[index, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).contiguous()
