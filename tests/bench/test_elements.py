"""Elements that the array's are compared with, against plain products; and the column around them."""

import pytest
from amaranth.sim import Simulator

from twofold.bench.elements.column import ElementColumn
from twofold.bench.elements.multiplier import FORMS, MultiplierElement
from twofold.bench.elements.paper_mac import PaperMacColumn
from twofold.bench.elements.shared_products import PickElement, RowProducts
from twofold.golden.config import ArrayConfig

LOG = ArrayConfig(name="log", pe="log", rows=4, cols=4, word_bits=3)
SUBSET = ArrayConfig(name="subset", pe="subset", rows=4, cols=4, word_bits=3)


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


def test_a_column_adds_up_the_products_of_any_elements():
    column = ElementColumn(LOG, lambda: MultiplierElement(LOG, 8, "operator"))
    weights, operands = (-128, 127, -1, 5), (255, 255, 3, 0)

    async def bench(ctx):
        for row, (weight, operand) in enumerate(zip(weights, operands, strict=True)):
            ctx.set(column.words[row].weight, weight)
            ctx.set(column.operands[row], operand)
        ctx.set(column.load, 1)
        await ctx.tick()
        ctx.set(column.swap, 1)
        await ctx.tick()
        await ctx.tick().repeat(LOG.tree_stages)
        expected = sum(weight * operand for weight, operand in zip(weights, operands, strict=True))
        assert ctx.get(column.sum) == expected + 4 * column.elements[0].original.base

    simulator = Simulator(column)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
