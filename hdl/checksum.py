"""The frame's checksum as logic: CRC-32, a beat a cycle."""

import zlib
from collections.abc import Sequence
from functools import reduce
from operator import xor

from amaranth import Cat, Value

from twofold.golden.isa import STREAM_BITS

_ONES = (1 << STREAM_BITS) - 1


def following(register: Value, beat: Value) -> Value:
    """The register after a further beat; it holds the complement of `golden.frame.checksum` of the beats before.

    A beat is as wide as the register, so that only their exclusive-or counts, and every bit after it is the parity of
    some bits of that. `amaranth.lib.crc`, made for any widths, takes register and beat apart, which costs 241 look-up
    tables more.
    """
    mixed = register ^ beat
    parts = [_step(1 << bit) for bit in range(STREAM_BITS)]
    return Cat(
        reduce(xor, (mixed[bit] for bit in range(STREAM_BITS) if parts[bit] >> place & 1))
        for place in range(STREAM_BITS)
    )


def after(beats: Sequence[int]) -> int:
    """The register after a frame's first beats."""
    return reduce(lambda register, beat: _step(register ^ beat), beats, _ONES)


def _step(mixed: int) -> int:
    """The register after a beat, where register and beat before are `mixed` together."""
    return zlib.crc32(mixed.to_bytes(STREAM_BITS // 8, "little"), _ONES) ^ _ONES
