"""Subset quantization: the nearest of a few points chosen out of a universal set [SubsetQ]."""

import torch
from torch import Tensor

from twofold.golden import catalog
from twofold.golden.formats import PointSet, WeightFormat
from twofold.train.quantizers.base import (
    LEAST_SCALE,
    CodedWeights,
    WeightQuantizer,
    encode_values,
    filled,
    nearest,
    per_channel,
)
from twofold.train.quantizers.search import search_points

GRANULARITIES = ("channel", "layer")


class SubsetQuantizer(WeightQuantizer, name="subset"):
    """Sign, and the nearest point to the magnitude; one point set a layer.

    Parameters
    ----------
    shape
        (M, N / groups, Kh, Kw) of the weights.
    bits
        Bits of a word, sign included.
    universal_set
        Option 1 to 5 of [SubsetQ] table 1.
    menus
        Instead of an option, the shifts of the two terms, as in a build (`golden.config.ArrayConfig`).
    granularity
        ``channel`` or ``layer``: what shares a scale.

    Attributes
    ----------
    levels : int64, shape (2**(bits - 1),)
        Points (LSBs), ascending. A weight of exactly 0 becomes the smallest, with sign +, but for filters of zeros.
    """

    weighted = True

    def __init__(
        self,
        shape: tuple[int, ...],
        *,
        bits: int,
        universal_set: int = 5,
        menus: str = "",
        granularity: str = "channel",
    ):
        super().__init__(shape)
        if granularity not in GRANULARITIES:
            raise ValueError(f"Granularity must be one of {GRANULARITIES}, not {granularity!r}")
        self.fmt = catalog.subset_format(bits, universal_set, menus=menus)
        self.granularity = granularity
        self.levels: Tensor
        self.register_buffer("levels", torch.tensor(self.fmt.universal_set[-self.fmt.point_count :], dtype=torch.int64))

    @property
    def points(self) -> PointSet:
        """The layer's point set."""
        return PointSet(self.fmt, tuple(int(level) for level in self.levels))

    @property
    def top(self) -> float:
        return float(self.levels[-1])

    def grid(self) -> Tensor:
        levels = self.levels.float()
        return torch.unique(torch.cat((-levels, levels)))

    def integers(self, x: Tensor) -> Tensor:
        size = nearest(x.abs(), self.levels.to(x))
        return torch.where(x < 0, -size, size)

    @torch.no_grad()
    def calibrate(self, weight: Tensor, importance: Tensor | None = None) -> None:
        """Search point set and scales of least squared error, each weight's error multiplied with its importance.

        Where a filter is all zero, or inputs of several groups share a tile, the set has zero.

        Raises
        ------
        ValueError
            If a filter is all zero and the universal set has no zero.
        """
        found = search_points(
            weight.detach().numpy(),
            self.fmt,
            by_channel=self.granularity == "channel",
            importance=None if importance is None else importance.numpy(),
            zero=not bool(filled(weight).all()) or (self.grouped and not self.fmt.universal_set[0]),
        )
        self.levels.copy_(torch.tensor(found.levels))
        largest = float(found.scales.max()) or 1.0
        scales = torch.tensor(found.scales).clamp(min=largest * LEAST_SCALE)
        self.scale.copy_(scales.expand(len(weight)))

    def check_format(self, fmt: WeightFormat) -> None:
        if fmt.menus != self.fmt.menus or fmt.index_bits < self.fmt.index_bits:
            raise ValueError(f"Weight format must be the array's {fmt}, not {self.fmt}")

    def encode(self, weight: Tensor, fmt: WeightFormat) -> CodedWeights:
        """Codes; an array of wider words with the same menus takes them too, the last point filling its table up."""
        self.check_format(fmt)
        levels = self.points.levels
        points = PointSet(fmt, levels + levels[-1:] * (fmt.point_count - len(levels)))
        with torch.no_grad():
            values = self.integers(weight / per_channel(self.scale)) * filled(weight)
        codes = encode_values(values.numpy(), points)[None]
        return CodedWeights(codes, (0,), points, (self.scale * self.gain).double().numpy())
