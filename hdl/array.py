"""The PE array: `cols` columns that see the same activations."""

from amaranth import Module
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from golden.config import ArrayConfig
from hdl.column import Column
from hdl.layouts import operands_layout, sums_layout, word_layout


class PeArray(wiring.Component):
    """Dot products of a line of activations with every column of the active tile.

    Takes a line a cycle; the sums stand ``1 + tree_stages`` cycles later.

    Parameters
    ----------
    config
        The build.

    Members
    -------
    load : In(cols)
        One bit a column: take `words` into that column's shadow.
    words : In(array of word_layout, one a row)
        The column's words.
    swap : In(1)
        Make the loaded tile active in the next cycle.
    activations : In(array of signed(operand_bits), one a row)
        In activation LSBs.
    sums : Out(array of signed(sum_bits), one a column)
        Sums of the products.
    """

    def __init__(self, config: ArrayConfig):
        self.config = config
        super().__init__(
            {
                "load": In(config.cols),
                "words": In(data.ArrayLayout(word_layout(config), config.rows)),
                "swap": In(1),
                "activations": In(operands_layout(config)),
                "sums": Out(sums_layout(config)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        for col in range(self.config.cols):
            m.submodules[f"column{col}"] = column = Column(self.config)
            m.d.comb += [
                column.load.eq(self.load[col]),
                column.words.eq(self.words),
                column.swap.eq(self.swap),
                column.activations.eq(self.activations),
                self.sums[col].eq(column.sum),
            ]
        return m
