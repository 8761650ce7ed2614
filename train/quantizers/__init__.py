"""Weight quantizers (parametrizations) by name, and the activation quantizer."""

from typing import Any

from train.quantizers.activation import ActivationQuantizer
from train.quantizers.base import CodedWeights, WeightQuantizer
from train.quantizers.stlq import STLQuantizer
from train.quantizers.subset import SubsetQuantizer
from train.quantizers.uniform import UniformQuantizer

#: Weight quantizers by the name that recipes use.
QUANTIZERS: dict[str, type[WeightQuantizer]] = {
    "stlq": STLQuantizer,
    "subset": SubsetQuantizer,
    "uniform": UniformQuantizer,
}

__all__ = [
    "QUANTIZERS",
    "ActivationQuantizer",
    "CodedWeights",
    "STLQuantizer",
    "SubsetQuantizer",
    "UniformQuantizer",
    "WeightQuantizer",
    "build_quantizer",
]


def build_quantizer(name: str, shape: tuple[int, ...], **options: Any) -> WeightQuantizer:
    """Weight quantizer of that name.

    Raises
    ------
    ValueError
        If there is no such quantizer, or an option is impossible.
    """
    if name not in QUANTIZERS:
        raise ValueError(f"Quantizer must be one of {tuple(QUANTIZERS)}, not {name!r}")
    return QUANTIZERS[name](shape, **options)
