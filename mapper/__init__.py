"""From a quantized network to a memory image: tiles, schedule, feature memory, proofs of fit."""

from twofold.mapper.checks import FitError
from twofold.mapper.compiler import compile_network

__all__ = ["FitError", "compile_network"]
