"""A column: dot products a line a cycle, the next tile's words loading meanwhile."""

import random

import cocotb

from twofold.sim import settings
from twofold.sim.compare import equal
from twofold.sim.component import Driver, all_words, join, product, word_bits

SETTINGS = settings.read()
CONFIG, SEED = SETTINGS["config"], SETTINGS["seed"]
timed = cocotb.test(timeout_time=10, timeout_unit="ms")
LATENCY = CONFIG.tree_stages


@timed
async def sums_equal_dot_products(dut):
    numbers = random.Random(SEED)
    words, most = all_words(CONFIG), CONFIG.operand_max
    column = Driver(dut)
    await column.start("load", "words", "swap", "operands")
    shadow = active = [words[0]] * CONFIG.rows
    expected: list[int] = []
    got, inputs = [], []
    for cycle in range(600):
        load, swap = numbers.random() < 0.3 or cycle == 0, numbers.random() < 0.2 or cycle == 1
        tile = numbers.choices(words, k=CONFIG.rows)
        extreme = numbers.random() < 0.2
        line = [numbers.choice((0, most)) if extreme else numbers.randrange(most + 1) for _ in tile]
        column.set(
            load=load,
            swap=swap,
            words=join([bits for bits, _, _ in tile], word_bits(CONFIG)),
            operands=join(line, CONFIG.act_bits),
        )
        inputs.append({"tile": active, "line": line})
        expected.append(sum(product(CONFIG, level, sign, a) for (_, level, sign), a in zip(active, line, strict=True)))
        active, shadow = (shadow if swap else active), (tile if load else shadow)
        await column.step()
        got.append(column.get("sum"))
    equal(got[LATENCY + 1 :], expected[2 : len(expected) - LATENCY + 1], "Sum", inputs=inputs[2:])
