"""The PE array: `cols` columns that see the same operands, but for those of a chain."""

from amaranth import Module
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from twofold.golden.config import ArrayConfig
from twofold.hdl.column import Column
from twofold.hdl.copies import copies


class PeArray(wiring.Component):
    """Dot products of a line of operands with every column of the active tile.

    Takes a line a cycle; the sums stand `tree_stages` cycles later.

    Parameters
    ----------
    config
        The build.

    Members
    -------
    line_load : In(load_groups)
        One bit for each `load_columns` neighbouring columns: take `line_words` into their shadows.
    line_words : In(line_words_layout)
        Those columns' words.
    swap : In(1)
        Make the loaded tile active in the next cycle.
    operands, once, twice : In(array of unsigned(act_bits), one a row)
        In activation LSBs; the PE of a row and column sees that of its row which `ArrayConfig.delay` says.
    sums : Out(array of unsigned(sum_bits), one a column)
        Sums of the products.
    """

    def __init__(self, config: ArrayConfig):
        self.config = config
        self.columns = copies("column", lambda: Column(config), config.cols)
        column = self.columns[0].signature.members
        super().__init__(
            {
                "line_load": In(config.load_groups),
                "line_words": In(data.ArrayLayout(column["words"].shape, config.load_columns)),
                "swap": In(1),
                "operands": In(column["operands"].shape),
                "once": In(column["operands"].shape),
                "twice": In(column["operands"].shape),
                "sums": Out(data.ArrayLayout(column["sum"].shape, config.cols)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        given = (self.operands, self.once, self.twice)
        for col in range(self.config.cols):
            m.submodules[f"column{col}"] = column = self.columns[col]
            m.d.comb += [
                column.load.eq(self.line_load[col // self.config.load_columns]),
                column.words.eq(self.line_words[col % self.config.load_columns]),
                column.swap.eq(self.swap),
                *(column.operands[row].eq(given[self.config.delay(row, col)][row]) for row in range(self.config.rows)),
                self.sums[col].eq(column.sum),
            ]
        return m
