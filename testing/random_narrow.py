"""Branches that read a part of an activation's bits, in random networks of builds that can."""

from dataclasses import replace

from numpy.random import Generator

from twofold.golden.config import ArrayConfig
from twofold.golden.narrow import Narrow
from twofold.golden.network import Branch, Tensor


def with_narrow(rng: Generator, config: ArrayConfig, branch: Branch, source: Tensor) -> Branch:
    """The branch, or in builds with narrow reads one that reads any bits of its source."""
    if not config.narrow_reads or source.bits < 3 or rng.random() < 0.4:
        return branch
    bits = int(rng.integers(2, source.bits + 1))
    return replace(branch, narrow=Narrow(int(rng.integers(0, source.bits - bits + 1)), bits, source.signed))
