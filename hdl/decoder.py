"""From weight codes to the selects that PEs hold; shared by all columns, since it sits where tiles are loaded."""

from amaranth import Array, Const, Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from twofold.golden.catalog import log_points
from twofold.golden.config import ArrayConfig, bits_for
from twofold.hdl.layouts import code_layout, row_layout, word_layout


class Decoder(wiring.Component):
    """Decodes the codes of a weight line with one of the resident point sets; combinational.

    On the log PE there is no table: it has one point set, and that is wired.

    Parameters
    ----------
    config
        The build.

    Members
    -------
    table : In(stream of {line, row})
        Rows of the decoder's table; line is ``set * points + index``. Always ready.
    set : In(unsigned)
        The point set to decode with; takes effect one cycle later.
    codes : In(array of code_layout, one a row of each of the line's columns)
        Weight codes, column by column.
    words : Out(likewise of word_layout)
        Decoded words.

    Source: [SubsetQ] section 3.5 (the shared decoder).
    """

    def __init__(self, config: ArrayConfig):
        self.config = config
        fmt = config.fmt
        self.row = row_layout(fmt)
        self.lanes = config.load_columns * config.rows
        super().__init__(
            {
                "table": In(
                    stream.Signature(data.StructLayout({"line": range(config.sets * fmt.point_count), "row": self.row}))
                ),
                "set": In(bits_for(config.sets)),
                "codes": In(data.ArrayLayout(code_layout(config), self.lanes)),
                "words": Out(data.ArrayLayout(word_layout(config), self.lanes)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        fmt = self.config.fmt
        m.d.comb += self.table.ready.eq(1)
        if len(fmt.menus) == 1:
            picks = [Const(pick, len(self.words[0].term0)) for (pick,) in log_points(fmt).rows]
            for word, code in zip(self.words, self.codes, strict=True):
                m.d.comb += [word.term0.eq(Array(picks)[code.index]), word.sign.eq(code.sign)]
                if fmt.spare is not None:
                    with m.If(code.sign & (code.index == 0)):
                        m.d.comb += word.term0.eq(fmt.menus[0].index(fmt.spare))
            return m

        table = [Signal(self.row, name=f"row{line}") for line in range(self.config.sets * fmt.point_count)]
        for line, row in enumerate(table):
            with m.If(self.table.valid & (self.table.payload.line == line)):
                m.d.sync += row.eq(self.table.payload.row)
        active = [Signal(self.row, name=f"active{index}") for index in range(fmt.point_count)]
        for index, row in enumerate(active):
            choices = [table[n * fmt.point_count + index].as_value() for n in range(self.config.sets)]
            m.d.sync += row.as_value().eq(Array(choices)[self.set])
        for lane in range(self.lanes):
            picked = Signal(self.row, name=f"picked{lane}")
            m.d.comb += picked.as_value().eq(Array(row.as_value() for row in active)[self.codes[lane].index])
            m.d.comb += [self.words[lane][term].eq(picked[term]) for term in fmt.row_fields]
            m.d.comb += self.words[lane].sign.eq(self.codes[lane].sign)
        return m
