"""Requantisation number by number in Python's integers, in builds whose scaled sums fit in 64 bits and in others."""

from fractions import Fraction

import numpy as np
import pytest

from twofold.golden.config import ArrayConfig
from twofold.golden.isa import Drain
from twofold.golden.requantise import requantised

#: The widths of scaled sums, 38 and 81 bits.
BUILDS = {
    name: ArrayConfig(name=name, pe="log", rows=2, cols=2, word_bits=3, acc_width=width, digit_span=span)
    for name, width, span in (("narrow", 24, 12), ("wide", 48, 31))
}


def modulo(value, bits):
    """Two's complement."""
    value %= 1 << bits
    return value - (1 << bits) * (value >> (bits - 1))


def by_hand(config, drain, accumulator, bias, multiplier, right, lane):
    total = modulo(accumulator + bias, config.acc_width) * multiplier
    if lane is not None:
        lane = modulo(lane, config.act_bits) if drain.skip_signed else lane
        total = modulo(total + (lane << (right + drain.skip_shift) % config.skip_reach), config.scaled_bits)
    rounded = round(Fraction(total, 1 << right))  # half to even
    return max(drain.low, min(drain.high, rounded)) % (1 << config.act_bits)


@pytest.mark.parametrize("signed", [0, 1])
@pytest.mark.parametrize("skipped", [False, True])
@pytest.mark.parametrize("name", BUILDS)
def test_every_number_is_as_by_hand(name, skipped, signed):
    config, rng = BUILDS[name], np.random.default_rng(3)
    low, high = ((-128, 127) if signed else (0, 255)) if not skipped else (-100, 90)
    drain = Drain(
        **dict.fromkeys(("address", "row_step", "plane", "lane", "groups", "channels"), 0),
        skip=int(skipped),
        skip_signed=signed,
        skip_shift=int(rng.integers(8)),
        low=low,
        high=high,
    )
    reach = 1 << (config.acc_width - 1)
    accumulators = rng.integers(-reach, reach, (200, 3))
    accumulators[:100] >>= config.acc_width - 12  # some are small
    bias = rng.integers(-reach, reach, 3) >> 10
    multiplier, right = rng.integers(1, 1 << config.digit_span, 3), np.array([0, config.digit_span + 3, 40])
    lanes = rng.integers(0, 256, (200, 3)) if skipped else None
    found = requantised(config, drain, accumulators, np.stack([bias, multiplier, right]), lanes, np.zeros(0, np.int64))
    for position, channel in np.ndindex(200, 3):
        facts = (accumulators[position, channel], bias[channel], multiplier[channel], right[channel])
        lane = None if lanes is None else int(lanes[position, channel])
        assert found[position, channel] == by_hand(config, drain, *map(int, facts), lane), (position, channel)
