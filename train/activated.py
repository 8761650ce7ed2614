"""What a layer makes of its sums: an activation and an integer."""

import torch
from torch import Tensor, nn

from twofold.train.pointwise import Function
from twofold.train.quantizers import ActivationQuantizer


class Activated(nn.Module):
    """ReLU and clip, or a function by table, and quantization.

    Parameters
    ----------
    relu
        Negative results become 0.
    limit
        Upper bound of the results (6 for ReLU6), or none.
    function
        Activation that the machine has by table, or none; then there is no ReLU.

    Attributes
    ----------
    quantizer
        Of the output; ``None`` keeps the source's format.
    before
        Of what the function is asked with; ``None`` where there is no function.
    """

    def __init__(self, *, relu: bool, limit: float | None, function: Function | None):
        super().__init__()
        self.relu, self.limit, self.function = relu, limit, function
        self.quantizer: ActivationQuantizer | None = None
        self.before: ActivationQuantizer | None = None

    @property
    def rounding(self) -> ActivationQuantizer | None:
        """The quantizer of the layer's sums: that of the output, or the one before the function."""
        return self.quantizer if self.before is None else self.before

    def asked(self, y: Tensor) -> Tensor:
        """Sums as the function gets them: quantized, where there is a function."""
        return y if self.before is None else self.before(y)

    def activate(self, y: Tensor) -> Tensor:
        """ReLU or another function, where there is one."""
        if self.function is not None:
            return self.function(y)
        if self.relu:
            y = torch.relu(y)
        return y if self.limit is None else y.clamp(max=self.limit)

    def quantize(self, y: Tensor) -> Tensor:
        """Activation and quantization of a result."""
        if self.quantizer is None:
            return self.activate(y)
        # A pass over memory less where clipping does the ReLU's work.
        done = self.relu and self.limit is None and self.quantizer.clips_negatives
        return self.quantizer(y if done else self.activate(self.asked(y)))
