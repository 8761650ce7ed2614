"""Base of the quantizers whose levels are integers of some range: they run on any array as signed digits."""

import numpy as np
import torch
from torch import Tensor

from golden import catalog
from golden.digits import digit_codes
from golden.formats import WeightFormat
from train.quantizers.base import CodedWeights, WeightQuantizer, per_channel


class DigitQuantizer(WeightQuantizer):
    """Weights that are integers times a scale, exported as the fewest words of signed digits that hold them."""

    def encode(self, weight: Tensor, fmt: WeightFormat) -> CodedWeights:
        points = catalog.digit_points(fmt)
        with torch.no_grad():
            values = self.integers(self.prepare(weight) / per_channel(self.scale)).numpy().astype(np.int64)
        codes, shifts = digit_codes(values, points)
        scale = (self.scale * self.gain).double().numpy() / (1 << fmt.digit_shift)
        return CodedWeights(codes, shifts, points, scale)


def weight_bits(bits: int, name: str, most: int = 8) -> int:
    """The same number, if a weight can have so many bits."""
    if type(bits) is not int or not 2 <= bits <= most:
        raise ValueError(f"{name} weight must be 2 to {most} bits, not {bits!r}")
    return bits
