"""A random table of a random layer."""

from collections.abc import Sequence

from numpy.random import Generator

from twofold.golden.config import ArrayConfig
from twofold.golden.network import Tensor
from twofold.golden.table import PointwiseTable

#: Part of the layers that have a table where the build has room for one.
SHARE = 0.4


def random_table(
    rng: Generator, config: ArrayConfig, output: Tensor, known: Sequence[PointwiseTable]
) -> PointwiseTable | None:
    """A table for a layer of that output, or None: a new one while the build has room for it, else one of `known`."""
    if not config.tables or rng.random() > SHARE:
        return None
    if len(known) == config.tables:
        fitting = [one for one in known if output.low <= one.entries.min() <= one.entries.max() <= output.high]
        return fitting[int(rng.integers(len(fitting)))] if fitting else None
    bits, signed = int(rng.integers(2, config.table_bits + 1)), bool(rng.random() < 0.7)
    entries = rng.integers(output.low, output.high + 1, 1 << bits)
    if rng.random() < 0.5:
        entries.sort()  # as most functions are
    return PointwiseTable(bits, signed, float(2.0 ** rng.uniform(-8, 2)), entries)
