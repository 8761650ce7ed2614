"""Operands: offset of signed activations, masks, padding."""

import random

import cocotb

from twofold.sim import settings
from twofold.sim.compare import equal
from twofold.sim.component import Driver, join, split

SETTINGS = settings.read()
CONFIG, SEED = SETTINGS["config"], SETTINGS["seed"]
timed = cocotb.test(timeout_time=10, timeout_unit="ms")


@timed
async def lanes_are_raised_and_masked(dut):
    numbers = random.Random(SEED)
    operands = Driver(dut)
    await operands.start("line", "outside", "row_mask", "is_signed")
    for cycle in range(500):
        line = [numbers.getrandbits(CONFIG.act_bits) for _ in range(CONFIG.rows)]
        outside, signed = numbers.random() < 0.2, numbers.random() < 0.5
        mask = numbers.choice((0, -1, numbers.getrandbits(CONFIG.rows)))
        operands.set(line=join(line, CONFIG.act_bits), outside=outside, row_mask=mask, is_signed=signed)
        await operands.step()
        values = [lane - (lane >> (CONFIG.act_bits - 1) << CONFIG.act_bits) if signed else lane for lane in line]
        seen = [0 if outside or not mask >> lane & 1 else value for lane, value in enumerate(values)]
        expected = [value + (CONFIG.operand_offset if signed else 0) for value in seen]
        got = split(operands.get("operands"), CONFIG.act_bits, CONFIG.rows, signed=False)
        given = f"outside {outside}, mask {mask}, signed {signed}"
        equal(got, expected, f"Case {cycle} ({given}), operand of lane", inputs=line)
