"""The PE, exhaustively: every word times every activation."""

import cocotb

from sim import settings
from sim.component import Driver, all_words, product, split

CONFIG = settings.read()["config"]
timed = cocotb.test(timeout_time=100, timeout_unit="ms")


@timed
async def every_product_is_exact(dut):
    pe = Driver(dut)
    await pe.start("activation", "word")
    half = 1 << (CONFIG.operand_bits - 1)
    wrong = []
    for bits, level, sign in all_words(CONFIG):
        pe.set(word=bits)
        for activation in (*range(-half, half, 1 if CONFIG.pe == "log" else 3), half - 1):
            pe.set(activation=activation)
            await pe.step()
            (got,) = split(pe.get("product"), CONFIG.product_bits, 1)
            if got != product(level, sign, activation):
                wrong.append((level, sign, activation, got))
    assert not wrong
