"""Quantizers of weights (parametrizations) and activations. A module of this folder need not be named here."""

from importlib import import_module
from pkgutil import iter_modules

from train.quantizers.activation import ACTIVATIONS, ActivationQuantizer, build_activation
from train.quantizers.affine import MinMaxQuantizer, SAWBQuantizer
from train.quantizers.apot import APoTQuantizer
from train.quantizers.attention import AttentionActivation, AttentionQuantizer
from train.quantizers.base import QUANTIZERS, CodedWeights, WeightQuantizer, build_quantizer
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

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")

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
