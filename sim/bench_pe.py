"""The PE, exhaustively: every word times every operand."""

import cocotb

from sim import settings
from sim.component import Driver, all_words, product

CONFIG = settings.read()["config"]
timed = cocotb.test(timeout_time=100, timeout_unit="ms")


@timed
async def every_product_is_exact(dut):
    pe = Driver(dut)
    await pe.start("operand", "word")
    wrong = []
    for bits, level, sign in all_words(CONFIG):
        pe.set(word=bits)
        for operand in range(CONFIG.operand_max + 1):
            pe.set(operand=operand)
            await pe.settle()
            got = pe.get("product")
            if got != product(CONFIG, level, sign, operand):
                wrong.append((level, sign, operand, got))
    assert not wrong
