"""The multiply-accumulate unit that [SubsetQ] draws, in an array of the same size: every unit has its accumulator."""

from amaranth import Module, Mux, Signal, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from twofold.golden.config import ArrayConfig
from twofold.hdl.copies import copies
from twofold.hdl.layouts import operands_layout
from twofold.hdl.pe import ProcessingElement


class PaperMacColumn(wiring.Component):
    """Column of units: two multiplexers of constant shifts, an adder, and an accumulator each; no adder tree.

    Words are double-buffered and operands come along the rows, as in `hdl.column.Column`; products are made by the same
    element, so the sign costs as little. Reading the accumulators out is left to whoever uses them.

    Parameters
    ----------
    config
        The build; its PE has two terms.
    acc_width
        Bits of an accumulator.

    Members
    -------
    load, words, swap, operands
        As in `hdl.column.Column`.
    first : In(1)
        Accumulators start from zero.
    totals : Out(array of unsigned(acc_width), one a row)
        The accumulators.

    Source: [SubsetQ] figure 4.
    """

    def __init__(self, config: ArrayConfig, acc_width: int = 24):
        self.config, self.acc_width = config, acc_width
        self.elements = copies("pe", lambda: ProcessingElement(config), config.rows)
        word = self.elements[0].signature.members["word"].shape
        super().__init__(
            {
                "load": In(1),
                "words": In(data.ArrayLayout(word, config.rows)),
                "swap": In(1),
                "first": In(1),
                "operands": In(operands_layout(config)),
                "totals": Out(data.ArrayLayout(unsigned(acc_width), config.rows)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        shadow = Signal(self.words.shape(), reset_less=True)
        active = Signal(self.words.shape(), reset_less=True)
        with m.If(self.load):
            m.d.sync += shadow.eq(self.words)
        with m.If(self.swap):
            m.d.sync += active.eq(shadow)
        for row in range(self.config.rows):
            m.submodules[f"pe{row}"] = pe = self.elements[row]
            total = Signal(self.acc_width, name=f"total{row}", reset_less=True)
            m.d.comb += [pe.operand.eq(self.operands[row]), pe.word.eq(active[row]), self.totals[row].eq(total)]
            m.d.sync += total.eq(Mux(self.first, 0, total) + pe.product)
        return m
