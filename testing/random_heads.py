"""Random outputs of a random network."""

from collections.abc import Sequence

from numpy.random import Generator

from twofold.golden.network import INPUT

#: Part of the networks whose outputs are not just the last layer's.
SHARE = 0.3


def random_heads(rng: Generator, live: Sequence[str]) -> tuple[str, ...]:
    """`Network.heads`: mostly none named, else some of the tensors that live in the end, in any order."""
    found = [name for name in live if name != INPUT]
    if rng.random() > SHARE:
        return ()
    return tuple(rng.permutation(found)[: int(rng.integers(1, len(found) + 1))].tolist())
