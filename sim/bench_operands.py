"""Operands: offset of signed activations, lanes without one, those of a chain."""

import random

import cocotb

from twofold.sim import settings
from twofold.sim.compare import equal
from twofold.sim.component import Driver, join, split

SETTINGS = settings.read()
CONFIG, SEED = SETTINGS["config"], SETTINGS["seed"]
timed = cocotb.test(timeout_time=10, timeout_unit="ms")


@timed
async def lanes_are_raised_masked_and_chained(dut):
    numbers = random.Random(SEED)
    operands = Driver(dut)
    masks = ("kept", "clipped") if CONFIG.narrow_reads else ()
    await operands.start("line", "live", "is_signed", "chain", *masks)
    before: list[list[int]] = []
    chained = 0
    for cycle in range(500):
        line = [numbers.getrandbits(CONFIG.act_bits) for _ in range(CONFIG.rows)]
        signed, chain = numbers.random() < 0.5, numbers.random() < 0.6
        live = numbers.choice((0, -1, numbers.getrandbits(CONFIG.rows)))
        drop, clip = (numbers.randrange(CONFIG.act_bits) if CONFIG.narrow_reads else 0 for _ in range(2))
        operands.set(line=join(line, CONFIG.act_bits), live=live, is_signed=signed, chain=chain)
        if CONFIG.narrow_reads:
            operands.set(kept=-1 << drop, clipped=((1 << clip) - 1) << (CONFIG.act_bits - signed - clip))
        await operands.step()
        values = [lane - (lane >> (CONFIG.act_bits - 1) << CONFIG.act_bits) if signed else lane for lane in line]
        most = 1 << (CONFIG.act_bits - signed - clip)
        values = [min(max(value, -most if signed else 0), most - 1) >> drop << drop for value in values]
        seen = [value if live >> lane & 1 else 0 for lane, value in enumerate(values)]
        expected = [value + (CONFIG.operand_offset if signed else 0) for value in seen]
        before, chained = [expected, *before][:3], chained + 1 if chain else 0
        given = f"live {live}, signed {signed}, chain {chain}, without {drop} low and {clip} high bits"
        for late, name in enumerate(("operands", "once", "twice")):
            if chain and (chained < late or len(before) <= late):
                continue
            wanted = [before[late][lane - late] for lane in range(CONFIG.rows)] if chain else expected
            got = split(operands.get(name), CONFIG.act_bits, CONFIG.rows, signed=False)
            equal(got, wanted, f"Case {cycle} ({given}), {name} of lane", inputs=line)
