"""Weight quantizers (parametrizations) by name, and the activation quantizer."""

from typing import Any

from train.quantizers.activation import ActivationQuantizer
from train.quantizers.affine import MinMaxQuantizer, SAWBQuantizer
from train.quantizers.apot import APoTQuantizer
from train.quantizers.attention import AttentionActivation, AttentionQuantizer
from train.quantizers.base import CodedWeights, WeightQuantizer
from train.quantizers.binary import BinaryQuantizer, TernaryQuantizer
from train.quantizers.clipping import MinMaxActivation, PactActivation
from train.quantizers.deepshift import DeepShiftQuantizer
from train.quantizers.lsq import LSQuantizer
from train.quantizers.po2_gradient import GradientPowerQuantizer, PowerActivation
from train.quantizers.po2_msqe import MSQEPowerQuantizer
from train.quantizers.relax import RelaxQuantizer
from train.quantizers.sigma import SigmaActivation, SigmaQuantizer
from train.quantizers.stlq import STLQuantizer
from train.quantizers.subset import SubsetQuantizer
from train.quantizers.uniform import UniformQuantizer

#: Weight quantizers by the name that recipes use.
QUANTIZERS: dict[str, type[WeightQuantizer]] = {
    "apot": APoTQuantizer,
    "attention": AttentionQuantizer,
    "binary": BinaryQuantizer,
    "deepshift": DeepShiftQuantizer,
    "lsq": LSQuantizer,
    "minmax": MinMaxQuantizer,
    "po2_gradient": GradientPowerQuantizer,
    "po2_msqe": MSQEPowerQuantizer,
    "relax": RelaxQuantizer,
    "sawb": SAWBQuantizer,
    "sigma": SigmaQuantizer,
    "stlq": STLQuantizer,
    "subset": SubsetQuantizer,
    "ternary": TernaryQuantizer,
    "uniform": UniformQuantizer,
}

#: Activation quantizers by the name that recipes use.
ACTIVATIONS: dict[str, type[ActivationQuantizer]] = {
    "attention": AttentionActivation,
    "lsq": ActivationQuantizer,
    "minmax": MinMaxActivation,
    "pact": PactActivation,
    "po2": PowerActivation,
    "sigma": SigmaActivation,
}

__all__ = [
    "ACTIVATIONS",
    "QUANTIZERS",
    "APoTQuantizer",
    "ActivationQuantizer",
    "AttentionActivation",
    "AttentionQuantizer",
    "BinaryQuantizer",
    "CodedWeights",
    "DeepShiftQuantizer",
    "GradientPowerQuantizer",
    "LSQuantizer",
    "MSQEPowerQuantizer",
    "MinMaxActivation",
    "MinMaxQuantizer",
    "PactActivation",
    "PowerActivation",
    "RelaxQuantizer",
    "SAWBQuantizer",
    "STLQuantizer",
    "SigmaActivation",
    "SigmaQuantizer",
    "SubsetQuantizer",
    "TernaryQuantizer",
    "UniformQuantizer",
    "WeightQuantizer",
    "build_activation",
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


def build_activation(name: str, **options: Any) -> ActivationQuantizer:
    """Activation quantizer of that name.

    Raises
    ------
    ValueError
        If there is no such quantizer, or an option is impossible.
    """
    if name not in ACTIVATIONS:
        raise ValueError(f"Activation quantizer must be one of {tuple(ACTIVATIONS)}, not {name!r}")
    return ACTIVATIONS[name](**options)
