"""Selective two-word logarithmic quantization [STLQ]."""

import math

import torch
from torch import Tensor, nn

from twofold.golden import catalog
from twofold.golden.formats import WeightFormat
from twofold.train.quantizers.base import CodedWeights, WeightQuantizer, encode_values, nearest, per_channel
from twofold.train.quantizers.least_squares import l2_scales
from twofold.train.quantizers.units import UnitGrid, auxiliary, select

ROUNDINGS = ("linear", "log")
SCALES = ("channel", "layer")
#: What a unit's residuals are scored by: their root mean square, or their L2 norm, which [STLQ] prints.
SCORES = ("rms", "l2")
#: Below this magnitude an auxiliary value becomes 0 and stays 0 [STLQ].
LEAST_V = 0.001
#: Largest power-of-two offset of the second word that calibration tries (bits).
LARGEST_OFFSET = 3


class STLQuantizer(WeightQuantizer, name="stlq"):
    """Log words, one a weight, and a second one for the units with the largest residuals.

    ``w1 = LogQ(w)``, ``w2 = LogQ(w - w1)`` on a grid finer by `offset` bits, ``w~ = w1 + (C + v) * w2``, C the chosen
    units and v the auxiliary values of the others, which a penalty drives to 0. Straight-through: dw~/dw = 1,
    dw~/dv = w2.

    Parameters
    ----------
    shape
        (M, N / groups, Kh, Kw) of the weights.
    bits
        Bits of a log word, sign included (`catalog.log_format`).
    asymmetric
        The paper's word with one more negative level.
    rounding
        ``linear``: to the nearest level. ``log``: ``round(log2|x|)``; then the symmetric word has a zero below
        2**-0.5 LSB [Sigma], the asymmetric one none but for exact zeros [STLQ].
    ratio
        R: part of the units with two words.
    unit, tile
        See `UnitGrid`.
    granularity
        ``channel`` or ``layer``: what shares a scale.
    literal
        The paper's printed form ``w1 + LogQ(r1 * (C + v))``, with dw~/dv = r1.
    auxiliary
        Units that are not chosen begin with v above 0. Without: selection alone.
    score
        ``rms`` or ``l2``; they differ on units of different sizes (ragged tiles), and v starts nearer to 1 with
        ``rms``.
    threshold
        Instead of a ratio: the units whose score is at least so many units of the weights have two words ([SLQ]: of
        elements; [FLightNN]: of filters).

    Attributes
    ----------
    chosen : uint8, shape of the grid
        C.
    v : shape of the grid
        Auxiliary values; a parameter.
    offset : int64
        Bits by which the second word's LSB is finer.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        *,
        bits: int,
        asymmetric: bool = False,
        rounding: str = "linear",
        ratio: float = 0.0,
        unit: str = "tile",
        tile: tuple[int, int] = (8, 8),
        granularity: str = "channel",
        literal: bool = False,
        auxiliary: bool = True,
        score: str = "rms",
        threshold: float | None = None,
    ):
        super().__init__(shape)
        if rounding not in ROUNDINGS:
            raise ValueError(f"Rounding must be one of {ROUNDINGS}, not {rounding!r}")
        if granularity not in SCALES:
            raise ValueError(f"Granularity must be one of {SCALES}, not {granularity!r}")
        if score not in SCORES:
            raise ValueError(f"Score must be one of {SCORES}, not {score!r}")
        if threshold is not None and (ratio or not threshold > 0):
            raise ValueError(f"Threshold must be above 0 and without a ratio, not {threshold!r} with {ratio!r}")
        self.auxiliary, self.score, self.threshold = auxiliary, score, threshold
        self.fmt = catalog.log_format(bits, asymmetric=asymmetric)
        self.points = catalog.log_points(self.fmt)
        self.rounding, self.ratio, self.granularity, self.literal = rounding, ratio, granularity, literal
        self.units = UnitGrid(self.shape, unit, tile)
        values = sorted(self.points.codes)
        self._above = torch.tensor([float(v) for v in values if v >= 0])
        self._below = torch.tensor([float(-v) for v in reversed(values) if v <= 0])
        self.chosen: Tensor
        self.live: Tensor
        self.offset: Tensor
        self.register_buffer("chosen", torch.zeros(self.units.grid, dtype=torch.uint8))
        self.register_buffer("live", torch.zeros(self.units.grid, dtype=torch.uint8))
        self.register_buffer("offset", torch.zeros(1, dtype=torch.int64))
        self.v = nn.Parameter(torch.zeros(self.units.grid))

    @property
    def top(self) -> float:
        return float(self._above[-1])

    def integers(self, x: Tensor) -> Tensor:
        """One word (LSBs) for each number."""
        size = x.abs()
        above, below = self._above.to(x), self._below.to(x)
        if torch.equal(above, below):
            return torch.copysign(self._magnitude(size, above), x)
        return torch.where(x >= 0, self._magnitude(size, above), -self._magnitude(size, below))

    def _magnitude(self, size: Tensor, levels: Tensor) -> Tensor:
        if self.rounding == "linear":
            return nearest(size, levels)
        low, high = math.log2(levels[1]), math.log2(levels[-1])
        power = torch.round(torch.log2(size.clamp(min=1e-30)))
        zero = size == 0 if self.fmt.spare is not None else power < low
        return torch.where(zero, torch.zeros_like(size), torch.exp2(power.clamp(low, high)))

    def words(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """First word, residual and second word of weights in LSBs of the first word; all in these LSBs."""
        first = self.integers(x)
        residual = x - first
        finer = float(1 << int(self.offset))
        return first, residual, self.integers(residual * finer) / finer

    def forward(self, weight: Tensor) -> Tensor:
        if not self.enabled:
            return weight
        with torch.no_grad():
            x = weight / per_channel(self.scale)
            first, residual, second = self.words(x)
            share = self.units.spread(self.chosen.to(x) + self.v)
            if self.literal:
                finer = float(1 << int(self.offset))
                second = torch.where(share > 0, self.integers(residual * share * finer) / finer, 0.0)
                q, slope = first + second, residual
            else:
                q, slope = first + share * second, second
        out = self._through(weight, q, x)
        if self.v.requires_grad and bool(self.live.any()):
            step = self.units.spread(self.v - self.v.detach())
            out = out + step * (slope * per_channel(self.scale * self.gain)).detach()
        return out

    @torch.no_grad()
    def calibrate(self, weight: Tensor) -> None:
        """Scale and offset by least squares; then the units with two words, and v for the others."""
        self.scale.copy_(l2_scales(weight, self.integers, self.top, by_channel=self.granularity == "channel"))
        self.choose(weight)

    @torch.no_grad()
    def choose(self, weight: Tensor) -> None:
        """Select the two-word units by their residuals (`score`), for the scales as they are."""
        scale = per_channel(self.scale)
        x = weight / scale
        residual = (x - self.integers(x)) * scale
        squares = self.units.total(residual**2)
        scores = (squares / self.units.counts if self.score == "rms" else squares).sqrt()
        chosen = select(scores, self.ratio) if self.threshold is None else scores >= self.threshold
        here = self.units.spread(chosen)
        errors = []
        for offset in range(LARGEST_OFFSET + 1):
            self.offset.fill_(offset)
            second = self.words(x)[2] * scale
            errors.append(float(((residual - second)[here] ** 2).sum()))
        self.offset.fill_(min(range(len(errors)), key=errors.__getitem__))
        self.chosen.copy_(chosen)
        self.v.copy_(auxiliary(scores, chosen) if self.auxiliary else torch.zeros_like(scores))
        self.live.copy_(~chosen)
        self.after_step()

    @property
    def with_aid(self) -> bool:
        """Whether an auxiliary value is still above 0."""
        return bool(self.live.any())

    def penalty(self) -> Tensor:
        """``sum(v**2)``."""
        return (self.v**2).sum()

    @torch.no_grad()
    def after_step(self) -> None:
        """Clamp v to 0 to 1; below `LEAST_V` it becomes 0, and never comes back."""
        super().after_step()
        self.v.clamp_(0, 1)
        self.v[(self.v < LEAST_V) | (self.live == 0)] = 0
        self.live.copy_(self.v > 0)

    def aids(self) -> list[nn.Parameter]:
        return [self.v]

    def metrics(self) -> dict[str, tuple[float, float]]:
        """``auxiliary``: part of the auxiliary values that are not yet 0."""
        return {"auxiliary": (float(self.live.sum()), float(self.units.size))}

    @torch.no_grad()
    def finish(self) -> None:
        """Force what is left of v to 0."""
        super().finish()
        self.v.zero_()
        self.live.zero_()

    def check_format(self, fmt: WeightFormat) -> None:
        if fmt != self.fmt:
            raise ValueError(f"Weight format must be the array's {fmt}, not {self.fmt}")

    def encode(self, weight: Tensor, fmt: WeightFormat) -> CodedWeights:
        self.check_format(fmt)
        if self.with_aid:
            raise ValueError("Auxiliary values must be 0 at export: call finish() first, not before training ends")
        with torch.no_grad():
            first, _, second = self.words(weight / per_channel(self.scale))
            here = self.units.spread(self.chosen != 0)
            second = torch.where(here, second, 0.0) * (1 << int(self.offset))
        scale = (self.scale * self.gain).double().numpy()
        if not bool(here.any()):
            codes = encode_values(first.numpy(), self.points)[None]
            return CodedWeights(codes, (0,), self.points, scale)
        offset = int(self.offset)
        codes = encode_values(torch.stack([first, second]).numpy(), self.points)
        return CodedWeights(codes, (offset, 0), self.points, scale / (1 << offset))

    def facts(self) -> dict[str, tuple[float, float]]:
        """``two_word_ratio``: part of the units that have two words; ``two_word_ratio_asked``."""
        units = float(self.units.size)
        return {"two_word_ratio": (float((self.chosen != 0).sum()), units), "two_word_ratio_asked": (self.ratio, 1.0)}
