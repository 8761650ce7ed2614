"""Random damage to frames, for benches that look how readers take it."""

import random
from collections.abc import Sequence

from twofold.golden.frame import checksum


def sealed(beats: Sequence[int]) -> list[int]:
    """The frame with its checksum made right again."""
    return [*beats[:-1], checksum(beats[:-1])]


def damaged(beats: Sequence[int], numbers: random.Random, *, resealed: float) -> list[int]:
    """The frame after up to two of: a flipped bit, the same bit flipped in two beats, two beats that change places, an
    early end, a beat too many within it, or behind it.

    `resealed` is how often its checksum is made right again, of 1.
    """
    beats = list(beats)
    for _ in range(numbers.randint(0, 2)):
        place = numbers.randrange(len(beats))
        other = numbers.randrange(len(beats))
        kind = numbers.randrange(6)
        if kind == 0:
            beats[place] ^= 1 << numbers.randrange(32)
        elif kind == 1:
            beats = beats[: max(1, place)]
        elif kind == 2:
            beats.insert(place, numbers.getrandbits(32))
        elif kind == 3:
            beats[place], beats[other] = beats[other], beats[place]
        elif kind == 4:
            bit = 1 << numbers.randrange(32)
            beats[place], beats[other] = beats[place] ^ bit, beats[other] ^ bit
        else:
            beats.append(numbers.getrandbits(8))
    return sealed(beats) if numbers.random() < resealed else beats
