"""The requantising unit: bias, digits, skip, ties to even, clip; extremes before noise."""

import random
from fractions import Fraction

import cocotb

from twofold.golden.isa import Channel
from twofold.sim import settings
from twofold.sim.compare import equal
from twofold.sim.component import Driver, struct

SETTINGS = settings.read()
CONFIG, SEED = SETTINGS["config"], SETTINGS["seed"]
timed = cocotb.test(timeout_time=10, timeout_unit="ms")
CHANNEL = Channel.record(CONFIG)
LATENCY = 3 + CONFIG.digits
HALF = 1 << (CONFIG.acc_width - 1)


def expected(acc: int, channel: dict[str, int], skip: int, shift: int, low: int, high: int) -> int:
    """The activation, by exact fractions: Python rounds them to nearest, ties to even."""
    biased = (acc + channel["bias"] + HALF) % (2 * HALF) - HALF
    half = 1 << (CONFIG.scaled_bits - 1)
    total = biased * multiplier(channel) + (skip << (channel["right"] + shift) % CONFIG.skip_reach)
    total = (total + half) % (2 * half) - half
    return min(max(round(Fraction(total, 1 << channel["right"])), low), high) & ((1 << CONFIG.act_bits) - 1)


def draw(numbers: random.Random) -> tuple[int, dict[str, int]]:
    """An accumulator and a channel: ties, extremes, results within the clip bounds at any right shift, or noise."""
    channel = {f"shift{n}": numbers.randrange(CONFIG.digit_span + 1) for n in range(CONFIG.digits)}
    channel |= {f"{name}{n}": numbers.getrandbits(1) for name in ("on", "minus") for n in range(CONFIG.digits)}
    channel |= {"bias": numbers.randrange(-HALF, HALF), "right": numbers.randrange(CONFIG.scaled_bits + 1)}
    acc = numbers.choice((-HALF, HALF - 1, 0, -1, numbers.randrange(-HALF, HALF), numbers.randrange(-999, 999)))
    if numbers.random() < 0.5:
        # Multiplier 1 and a small sum: half of all results lie midway between two integers when the right shift is 1.
        channel |= {f"on{n}": int(n == 0) for n in range(CONFIG.digits)}
        channel |= {"shift0": 0, "minus0": 0, "bias": 0, "right": numbers.randrange(4)}
        acc = numbers.randint(-600, 600)
    elif (factor := multiplier(channel)) and numbers.random() < 0.7:
        # A sum that gives about this many halves.
        halves = numbers.randint(-3 << CONFIG.act_bits, 3 << CONFIG.act_bits)
        biased = (halves << channel["right"]) // (2 * factor) + numbers.randint(-1, 1)
        acc = min(max(biased, -HALF), HALF - 1) - channel["bias"]
    if numbers.random() < 0.2:
        # The largest products at the largest right shifts.
        sign = numbers.getrandbits(1)
        for n in range(CONFIG.digits):
            shift = CONFIG.digit_span - numbers.choice((0, 0, 0, 1, 2))
            channel |= {f"on{n}": 1, f"minus{n}": sign, f"shift{n}": max(0, shift)}
        channel |= {"right": CONFIG.scaled_bits - numbers.randrange(5), "bias": 0}
        acc = numbers.choice((-HALF, HALF - 1, numbers.randrange(-HALF, HALF)))
    return acc, channel


def multiplier(channel: dict[str, int]) -> int:
    """What the digits of a channel stand for."""
    digits = [(channel[f"on{n}"], channel[f"minus{n}"], channel[f"shift{n}"]) for n in range(CONFIG.digits)]
    return sum((-1 if minus else 1) << shift for on, minus, shift in digits if on)


@timed
async def results_are_exact(dut):
    numbers = random.Random(SEED)
    unit = Driver(dut)
    await unit.start("acc", "channel", "skip", "skip_shift", "low", "high")
    top = 1 << CONFIG.act_bits
    bounds = ((-top // 2, top // 2 - 1), (0, top - 1), (0, 3), (-2, 5))
    for (low, high), shift in zip(bounds, (0, -1, -8, 2), strict=True):
        unit.set(low=low, high=high, skip_shift=shift)
        cases = [(*draw(numbers), numbers.choice((0, -top // 2, top - 1, numbers.randrange(top)))) for _ in range(600)]
        got = []
        for number, (acc, channel, skip) in enumerate(cases + cases[: LATENCY - 1], start=1):
            unit.set(acc=acc, channel=struct(CHANNEL, **channel), skip=skip)
            await unit.step()
            if number >= LATENCY:
                got.append(unit.get("activation"))
        wanted = [expected(*case, shift, low, high) for case in cases]
        equal(got, wanted, f"Bounds {low} and {high}, activation", inputs=cases)
