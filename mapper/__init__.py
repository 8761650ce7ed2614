"""From a quantized network to a memory image: tiles, schedule, feature memory, proofs of fit."""

from mapper.checks import FitError
from mapper.compiler import compile_network

__all__ = ["FitError", "compile_network"]
