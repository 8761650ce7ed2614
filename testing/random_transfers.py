"""Transfer lists of any shape, whose times a bench and golden agree on."""

import random

from twofold.golden.config import ArrayConfig
from twofold.golden.isa import Section, section_kinds
from twofold.golden.transfers import BURST_BEATS, Transfer, bus_beats


def random_transfers(config: ArrayConfig, seed: int, count: int = 8) -> list[Transfer]:
    """A list that waits for no drain, without its end: one line or several bursts a row, across boundaries or not.

    Parameters
    ----------
    config
        The build, with a memory outside.
    seed
        Of everything random.
    count
        How many transfers.
    """
    numbers, transfers = random.Random(seed), []
    kinds = (*section_kinds(config), Section.FEATURE)
    for _ in range(count):
        kind = numbers.choice(kinds)
        wide = bus_beats(config, kind)
        length = numbers.choice((1, 2, numbers.randint(3, 40), numbers.randint(1, 5 * BURST_BEATS // (2 * wide))))
        # Some rows begin a few beats before a boundary; some are more than there may be bursts without an answer.
        near = (numbers.randrange(1, 1 << 16) << 8) - numbers.randint(1, 3)
        place = numbers.choice((numbers.randrange(1 << 24), near))
        step = numbers.choice((length * wide, length * wide + numbers.randint(1, 300)))
        rows = numbers.choice((1, 2, numbers.randint(3, 12), 80 if length == 1 else 5)) if length < 50 else 1
        store = int(kind is Section.FEATURE and numbers.random() < 0.6)
        shape = {"rows": rows, "length": length, "line_step": length, "memory_step": step}
        transfers.append(Transfer(kind=kind, store=store, memory=place, **shape))
    return transfers
