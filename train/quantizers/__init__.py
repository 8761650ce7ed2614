"""Quantizers of weights (parametrizations) and activations. A module of this folder need not be named here."""

from importlib import import_module
from pkgutil import iter_modules

from twofold.train.quantizers.activation import ACTIVATIONS, ActivationQuantizer, build_activation
from twofold.train.quantizers.affine import MinMaxQuantizer, SAWBQuantizer
from twofold.train.quantizers.apot import APoTQuantizer
from twofold.train.quantizers.attention import AttentionActivation, AttentionQuantizer
from twofold.train.quantizers.base import QUANTIZERS, CodedWeights, WeightQuantizer, build_quantizer, nearest
from twofold.train.quantizers.binary import BinaryQuantizer, TernaryQuantizer
from twofold.train.quantizers.clipping import MinMaxActivation, PactActivation
from twofold.train.quantizers.deepshift import DeepShiftQuantizer
from twofold.train.quantizers.least_squares import l2_scales
from twofold.train.quantizers.lsq import LSQuantizer
from twofold.train.quantizers.po2_gradient import GradientPowerQuantizer, PowerActivation
from twofold.train.quantizers.po2_msqe import MSQEPowerQuantizer
from twofold.train.quantizers.relax import RelaxQuantizer
from twofold.train.quantizers.sigma import SigmaActivation, SigmaQuantizer
from twofold.train.quantizers.stlq import STLQuantizer
from twofold.train.quantizers.subset import SubsetQuantizer
from twofold.train.quantizers.uniform import UniformQuantizer

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
    "l2_scales",
    "nearest",
]
