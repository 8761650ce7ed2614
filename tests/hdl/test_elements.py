"""The processing element against plain products, with either kind of gates."""

from dataclasses import replace

import pytest
from amaranth.sim import Simulator

from twofold.golden.config import ArrayConfig
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
