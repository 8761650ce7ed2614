"""The array: a line of activations a cycle, and two of a chain, against every column of the active tile."""

import random

import cocotb

from twofold.sim import settings
from twofold.sim.compare import equal
from twofold.sim.component import Driver, all_words, join, product, split, word_bits

SETTINGS = settings.read()
CONFIG, SEED = SETTINGS["config"], SETTINGS["seed"]
timed = cocotb.test(timeout_time=10, timeout_unit="ms")
LATENCY = CONFIG.tree_stages


def seen_by(lines: list[list[int]], col: int) -> list[int]:
    """What the PEs of a column get of a line's operands and those that are one and two positions late."""
    late = [(row - col) % min(CONFIG.rows, CONFIG.cols) for row in range(CONFIG.rows)]
    return [lines[by if by < 3 else 0][row] for row, by in enumerate(late)]


def column_sum(words: list[tuple[int, int, int]], line: list[int]) -> int:
    """What a column makes of a line."""
    return sum(product(CONFIG, level, sign, a) for (_, level, sign), a in zip(words, line, strict=True))


@timed
async def sums_equal_matrix_products(dut):
    """Groups of columns load one by one, in any order and some not at all, while the active tile computes."""
    numbers = random.Random(SEED)
    words, most = all_words(CONFIG), CONFIG.operand_max
    at_once, groups = CONFIG.load_columns, CONFIG.load_groups
    array = Driver(dut)
    names = ("operands", "once", "twice")
    await array.start("line_load", "line_words", "swap", *names)
    shadow = [[words[0]] * CONFIG.rows for _ in range(CONFIG.cols)]
    active = list(shadow)
    for group in range(groups):
        array.set(line_load=1 << group, line_words=join([words[0][0]] * CONFIG.rows * at_once, word_bits(CONFIG)))
        await array.step()
    array.set(line_load=0, swap=1)
    await array.step()
    expected, got, inputs = [], [], []
    for _ in range(400):
        group, swap = numbers.randrange(groups + 3), numbers.random() < 0.15
        tile = [numbers.choices(words, k=CONFIG.rows) for _ in range(at_once)]
        lines = [[numbers.choice((0, most, numbers.randrange(most + 1))) for _ in range(CONFIG.rows)] for _ in names]
        seen = [seen_by(lines, col) for col in range(CONFIG.cols)]
        array.set(
            line_load=1 << group if group < groups else 0,
            swap=swap,
            line_words=join([bits for column in tile for bits, _, _ in column], word_bits(CONFIG)),
            **{name: join(line, CONFIG.act_bits) for name, line in zip(names, lines, strict=True)},
        )
        inputs.append({"tile": active, "lines": lines})
        expected.append([column_sum(words, line) for words, line in zip(active, seen, strict=True)])
        if swap:
            active = list(shadow)
        if group < groups:
            shadow[group * at_once : (group + 1) * at_once] = tile
        await array.step()
        got.append(split(array.get("sums"), CONFIG.sum_bits, CONFIG.cols, signed=False))
    equal(got[LATENCY - 1 :], expected[: len(expected) - LATENCY + 1], "Sums of cycle", inputs=inputs)
