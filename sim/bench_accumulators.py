"""Accumulators: sums, maxima, shifts and masks into both banks, read through the requantiser's port."""

import random

import cocotb

from twofold.golden.config import bits_for
from twofold.golden.fields import Record
from twofold.golden.isa import Pass
from twofold.sim import settings
from twofold.sim.compare import equal
from twofold.sim.component import Driver, join, split, struct

SETTINGS = settings.read()
CONFIG, SEED = SETTINGS["config"], SETTINGS["seed"]
timed = cocotb.test(timeout_time=10, timeout_unit="ms")
TAG = Record.unsigned(
    {
        "valid": 1,
        "outside": 1,
        "position": bits_for(CONFIG.acc_depth),
        "shift": Pass.record(CONFIG)["shift"].width,
        "first": 1,
        "maximum": 1,
        "bank": 1,
        "col_mask": CONFIG.cols,
    }
)
LEAST = -(1 << (CONFIG.acc_width - 1))


def wrap(value: int) -> int:
    """The value modulo 2**acc_width, signed."""
    return (value - LEAST) % (1 << CONFIG.acc_width) + LEAST


@timed
async def every_operation_is_exact(dut):
    """A position comes again no sooner than `min_pass` cycles later; at that distance it must be right."""
    numbers = random.Random(SEED)
    acc = Driver(dut)
    await acc.start("tag", "sums", "read__bank", "read__position")
    depth = min(CONFIG.acc_depth, 16)
    state = {(bank, position): [0] * CONFIG.cols for bank in range(2) for position in range(depth)}
    # Every accumulator once from the start, then whatever comes; the last positions used are left alone.
    order = list(state)
    recent: list[tuple[int, int]] = []
    top = 1 << CONFIG.sum_bits
    for cycle in range(len(order) + 1500):
        starting = cycle < len(order)
        place = (
            order[cycle]
            if starting
            else numbers.choice([p for p in order if p not in recent][: 6 if cycle % 3 else None])
        )
        recent = [*recent, place][-(CONFIG.min_pass - 1) :]
        bank, position = place
        fields = {
            "valid": int(starting or numbers.random() < 0.9),
            "outside": numbers.getrandbits(1),
            "shift": numbers.choice((0, 1, CONFIG.max_pass_shift, numbers.randrange(CONFIG.max_pass_shift + 1))),
            "first": int(starting or numbers.random() < (0.2 if position % 2 else 0.01)),
            "maximum": numbers.getrandbits(1),
            "col_mask": -1 if starting else numbers.getrandbits(CONFIG.cols),
        }
        sums = [numbers.choice((0, top - 1, numbers.randrange(top))) for _ in range(CONFIG.cols)]
        acc.set(tag=struct(TAG, bank=bank, position=position, **fields), sums=join(sums, CONFIG.sum_bits))
        if fields["valid"]:
            for column, value in enumerate(sums):
                if not fields["col_mask"] >> column & 1:
                    continue
                old = state[place][column]
                if fields["first"]:
                    old = LEAST if fields["maximum"] else 0
                addend = wrap(value << fields["shift"])
                if not fields["maximum"]:
                    state[place][column] = wrap(old + addend)
                else:
                    state[place][column] = old if fields["outside"] else max(old, addend)
        await acc.step()
    acc.set(tag=0)
    await acc.step(CONFIG.min_pass)
    got = {}
    for bank, position in order:
        acc.set(read__bank=bank, read__position=position)
        await acc.step()
        got[bank, position] = split(acc.get("read__line"), CONFIG.acc_width, CONFIG.cols)
    equal([*got.items()], [*state.items()], "Bank, position and accumulators")
