"""Elements of the array against plain products: ours with either kind of gates, and those that it is compared with."""

from dataclasses import replace

import pytest
from amaranth.sim import Simulator

from twofold.bench.elements.paper_mac import PaperMacColumn
from twofold.bench.elements.shared_products import PickElement, RowProducts
from twofold.golden.config import ArrayConfig
from twofold.hdl.multiplier import FORMS, MultiplierElement
from twofold.hdl.pe import ProcessingElement

LOG = ArrayConfig(name="log", pe="log", rows=4, cols=4, word_bits=3)
SUBSET = ArrayConfig(name="subset", pe="subset", rows=4, cols=4, word_bits=3)
BUILDS = {
    "log2": replace(LOG, word_bits=2),
    "log3": LOG,
    "log3_asymmetric": replace(LOG, asymmetric=True),
    "log4": replace(LOG, word_bits=4),
    "log4_asymmetric": replace(LOG, word_bits=4, asymmetric=True),
    "log5": replace(LOG, word_bits=5),
    "few_bits": replace(LOG, word_bits=4, act_bits=2),
    **{f"subset_{option}": replace(SUBSET, universal_set=option) for option in range(1, 6)},
    "own_menus": replace(SUBSET, menus="3 off + 2 1 0 off", act_bits=4),
    "one_term_off": replace(SUBSET, menus="off + 1 0 off"),
}


def values(bits):
    return range(1 << bits) if bits <= 4 else (0, 1, 2, 85, 127, 128, 170, 254, 255)


@pytest.mark.parametrize("select", ["mux", "and_or"])
@pytest.mark.parametrize("build", BUILDS)
def test_products_are_word_times_operand_and_a_constant(build, select):
    config = replace(BUILDS[build], select=select)
    element = ProcessingElement(config)
    menus = config.fmt.menus
    seen = set()

    async def bench(ctx):
        picks = [(pick,) for pick in range(len(menus[0]))]
        if len(menus) == 2:
            picks = [(a, b) for a in range(len(menus[0])) for b in range(len(menus[1]))]
        for pick in picks:
            shifts = [menu[n] for menu, n in zip(menus, pick, strict=True)]
            level = sum(1 << shift for shift in shifts if shift is not None)
            for sign in (0, 1):
                word = {f"term{n}": select for n, select in enumerate(pick)} | {"sign": sign}
                ctx.set(element.word, word)
                for operand in values(config.act_bits):
                    ctx.set(element.operand, operand)
                    weight = -level if sign else level
                    assert ctx.get(element.product) == weight * operand + config.product_base(level, sign), word
                    seen.add(weight)

    simulate(element, bench)
    levels = set(config.fmt.universal_set)
    assert seen == levels | {-level for level in levels}


def simulate(component, bench):
    simulator = Simulator(component)
    simulator.add_testbench(bench)
    simulator.run()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("bits", [3, 4, 8])
def test_a_multiplier_multiplies(bits, form):
    element = MultiplierElement(LOG, bits, form)
    half = 1 << (bits - 1)
    weights = range(-half, half) if bits < 8 else (-128, -127, -86, -1, 0, 1, 85, 127)
    inverted = form == "inverted rows"

    async def bench(ctx):
        for weight in weights:
            ctx.set(element.word.weight, weight ^ -half if inverted else weight)
            for operand in range(256):
                ctx.set(element.operand, operand)
                product = -weight * operand if inverted else weight * operand
                assert ctx.get(element.product) == product + element.base

    simulate(element, bench)


def test_paper_units_accumulate_each_by_itself():
    column = PaperMacColumn(SUBSET)
    words = [{"term0": 0, "term1": 3, "sign": 0}, {"term0": 1, "term1": 1, "sign": 1}]  # 16, -(8 + 4)
    lines = [(3, 200), (255, 0), (7, 9)]

    async def bench(ctx):
        for row in range(SUBSET.rows):
            ctx.set(column.words[row], words[row % 2])
        ctx.set(column.load, 1)
        await ctx.tick()
        ctx.set(column.load, 0)
        ctx.set(column.swap, 1)
        await ctx.tick()
        ctx.set(column.swap, 0)
        for number, line in enumerate([(1, 1), *lines]):
            # The first line starts the accumulators, the second starts them anew.
            ctx.set(column.first, number < 2)
            for row in range(SUBSET.rows):
                ctx.set(column.operands[row], line[row % 2])
            await ctx.tick()
        bases = [SUBSET.product_base(16, False), SUBSET.product_base(12, True)]
        # Starting puts zero in the place of the old total, and the product is added.
        expected = [sum(line[n] for line in lines) * (16, -12)[n] + 3 * bases[n] for n in (0, 1)]
        assert [ctx.get(column.totals[row]) for row in (0, 1, 2, 3)] == expected * 2

    simulator = Simulator(column)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()


def test_shared_products_are_made_once_and_picked():
    rows, pick = RowProducts(SUBSET), PickElement(SUBSET)
    points = [(3, 2), (0, 0), (2, 1), (1, 3)]  # 1, 32, 2 + 4, 8
    levels = [1, 32, 6, 8]
    products = {}

    async def make(ctx):
        for index, (a, b) in enumerate(points):
            ctx.set(rows.points[index], {"term0": a, "term1": b})
        for row, operand in enumerate((0, 1, 170, 255)):
            ctx.set(rows.operands[row], operand)
            products[operand] = ctx.get(rows.products[row])

    simulate(rows, make)
    most = (1 << SUBSET.product_bits) - 1

    async def choose(ctx):
        for operand, together in products.items():
            ctx.set(pick.operand, together)
            for index, level in enumerate(levels):
                for sign in (0, 1):
                    ctx.set(pick.word, {"index": index, "sign": sign})
                    assert ctx.get(pick.product) == (most - level * operand if sign else level * operand)

    simulate(pick, choose)
