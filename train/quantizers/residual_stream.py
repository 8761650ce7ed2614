"""Activations of a residual stream: more bits where residuals add them than where convolutions read them."""

import torch
from torch import Tensor

from twofold.golden.narrow import Narrow
from twofold.train.quantizers.activation import ActivationQuantizer, sample
from twofold.train.quantizers.rounding import round_clipped

#: Most bits above those that are read: a stream reaches so many times 2 beyond what convolutions see.
MOST_ABOVE = 2


class StreamActivation(ActivationQuantizer):
    """The stream keeps `bits`, convolutions read `read_bits` of them (`golden.narrow`), whose scale is trained.

    Parameters
    ----------
    bits, signed, calibration, limit
        See `ActivationQuantizer`; the calibration is that of what is read.
    read_bits
        Bits that convolutions read; `bits`: nothing but residuals, or averages, reads.

    Attributes
    ----------
    drop : int64, shape (1,)
        Low bits that convolutions leave out: their scale is ``2**drop`` times the stream's.
    """

    can_tie = True

    def __init__(
        self, *, bits: int, read_bits: int, signed: bool, calibration: str = "mse", limit: float | None = None
    ) -> None:
        super().__init__(bits=bits, signed=signed, calibration=calibration, limit=limit)
        if not 2 <= read_bits <= bits:
            raise ValueError(f"Bits that are read of a residual stream must be 2 to {bits}, not {read_bits!r}")
        self.read_bits = self.final_read_bits = read_bits
        self.drop: Tensor
        self.register_buffer("drop", torch.full((1,), bits - read_bits))

    @property
    def narrow(self) -> Narrow | None:
        """What convolutions read; ``None``: everything."""
        if self.read_bits == self.bits:
            return None
        return Narrow(int(self.drop), self.read_bits, self.signed)

    @property
    def lift(self) -> int:
        """What is added to an activation, in its LSBs, so that leaving bits out rounds."""
        narrow = self.narrow
        return 0 if narrow is None else narrow.half

    @property
    def high(self) -> int:
        """Largest integer: of the format, less what it is raised by, or of `limit`."""
        return min(super().high, (1 << (self.bits - self.signed)) - 1 - self.lift)

    @property
    def clips_negatives(self) -> bool:
        return self.enabled and not self.signed

    def forward(self, x: Tensor) -> Tensor:
        """What residuals add; nothing of the scale is trained here."""
        return round_clipped(x, self.scale.detach(), self.low, self.high) if self.enabled else x

    def read(self, x: Tensor) -> Tensor:
        """What convolutions read of the stream, halves rounded up; the gradients of the scale are from here."""
        narrow = self.narrow
        if not self.enabled or narrow is None:
            return x
        scale, share = self.trained_scale(x, narrow.high)
        if narrow.drop:
            # Integers of the stream are never as near to a half as this.
            x = x + scale.detach() / 2
        return round_clipped(x, scale * float(1 << narrow.drop), narrow.low, narrow.high, share=share)

    def format_at(self, scale: float) -> tuple[float, int, int]:
        """Of what convolutions read."""
        narrow = self.narrow
        if narrow is None:
            return super().format_at(scale)
        return scale * (1 << narrow.drop), narrow.low, narrow.high

    @torch.no_grad()
    def calibrate(self, x: Tensor) -> None:
        """The scale for what is read; then the bits above, so that the stream has the least squared error."""
        super().calibrate(x)
        if self.narrow is None:
            return
        values = sample(x.detach() if self.limit is None else x.detach().clamp(max=self.limit))
        read_scale, most = self.format_at(float(self.scale))[0], self.bits - self.read_bits
        errors = [(self._error(values, read_scale, most - above), above) for above in range(min(MOST_ABOVE, most) + 1)]
        self._set(read_scale, most - min(errors)[1])

    def _set(self, read_scale: float, drop: int) -> None:
        self.drop.fill_(drop)
        self.scale.fill_(read_scale / (1 << drop))

    def _error(self, values: Tensor, read_scale: float, drop: int) -> float:
        """Squared error of the stream, of which convolutions leave out so many bits."""
        self._set(read_scale, drop)
        rounded = round_clipped(values, self.scale, self.low, self.high)
        return float((rounded - values).square().sum())

    @torch.no_grad()
    def set_bits(self, least: int) -> bool:
        """What is read has its final bits or, if fewer, `least`, up to the same level; the stream stays."""
        top = int(self.drop) + self.read_bits
        if self.final_read_bits < self.bits:
            self.read_bits = min(max(self.final_read_bits, least), top)
            self.drop.fill_(top - self.read_bits)
        return True
