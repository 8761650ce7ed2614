"""The PE, exhaustively: every word times every operand."""

import cocotb

from twofold.sim import settings
from twofold.sim.component import Driver, all_words, product

CONFIG = settings.read()["config"]
timed = cocotb.test(timeout_time=100, timeout_unit="ms")


@timed
async def every_product_is_exact(dut):
    pe = Driver(dut)
    await pe.start("operand", "word")
    for bits, level, sign in all_words(CONFIG):
        pe.set(word=bits)
        for operand in range(CONFIG.operand_max + 1):
            pe.set(operand=operand)
            await pe.settle()
            got, wanted = pe.get("product"), product(CONFIG, level, sign, operand)
            assert got == wanted, f"Level {level}, sign {sign}, operand {operand} must give {wanted}, not {got}"
