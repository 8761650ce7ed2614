"""The array: a line of activations a cycle against every column of the active tile."""

import random

import cocotb

from twofold.sim import settings
from twofold.sim.compare import equal
from twofold.sim.component import Driver, all_words, join, product, split, word_bits

SETTINGS = settings.read()
CONFIG, SEED = SETTINGS["config"], SETTINGS["seed"]
timed = cocotb.test(timeout_time=10, timeout_unit="ms")
LATENCY = CONFIG.tree_stages


def column_sum(words: list[tuple[int, int, int]], line: list[int]) -> int:
    """What a column makes of a line."""
    return sum(product(CONFIG, level, sign, a) for (_, level, sign), a in zip(words, line, strict=True))


@timed
async def sums_equal_matrix_products(dut):
    """Columns load one by one, in any order and some not at all, while the active tile computes."""
    numbers = random.Random(SEED)
    words, most = all_words(CONFIG), CONFIG.operand_max
    array = Driver(dut)
    await array.start("load", "words", "swap", "operands")
    shadow = [[words[0]] * CONFIG.rows for _ in range(CONFIG.cols)]
    active = list(shadow)
    for column in range(CONFIG.cols):
        array.set(load=1 << column, words=join([words[0][0]] * CONFIG.rows, word_bits(CONFIG)))
        await array.step()
    array.set(load=0, swap=1)
    await array.step()
    expected, got, inputs = [], [], []
    for _ in range(400):
        column, swap = numbers.randrange(CONFIG.cols + 3), numbers.random() < 0.15
        tile = numbers.choices(words, k=CONFIG.rows)
        line = [numbers.choice((0, most, numbers.randrange(most + 1))) for _ in tile]
        array.set(
            load=1 << column if column < CONFIG.cols else 0,
            swap=swap,
            words=join([bits for bits, _, _ in tile], word_bits(CONFIG)),
            operands=join(line, CONFIG.act_bits),
        )
        inputs.append({"tile": active, "line": line})
        expected.append(
            [
                sum(product(CONFIG, level, sign, a) for (_, level, sign), a in zip(col, line, strict=True))
                for col in active
            ]
        )
        if swap:
            active = list(shadow)
        if column < CONFIG.cols:
            shadow[column] = tile
        await array.step()
        got.append(split(array.get("sums"), CONFIG.sum_bits, CONFIG.cols, signed=False))
    equal(got[LATENCY - 1 :], expected[: len(expected) - LATENCY + 1], "Sums of cycle", inputs=inputs)
