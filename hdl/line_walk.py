"""The lines of a transfer in a memory of the chip, one after the other."""

from amaranth import Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from twofold.golden.config import ArrayConfig
from twofold.golden.transfers import Transfer
from twofold.hdl.layouts import field_shape


def rectangle(config: ArrayConfig) -> data.StructLayout:
    """Rows of lines, as `golden.transfers.Transfer` has them; `rows` and `length` minus one."""
    record = Transfer.record(config)
    return data.StructLayout({name: field_shape(record[name]) for name in ("line", "line_step", "rows", "length")})


class LineWalk(wiring.Component):
    """Walks from line to line, row by row.

    Parameters
    ----------
    config
        The build.

    Members
    -------
    begin : In(1), place : In(`rectangle`)
        Stand on the first line of these rows in the next cycle.
    step : In(1)
        Stand on the next line in the next cycle.
    line : Out
        The line.
    last : Out(1)
        It is the last one.
    """

    def __init__(self, config: ArrayConfig):
        layout = rectangle(config)
        super().__init__(
            {"begin": In(1), "place": In(layout), "step": In(1), "line": Out(layout["line"].shape), "last": Out(1)}
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        place = self.place
        step = Signal.like(place.line_step, name="row_step")
        length = Signal.like(place.length, name="row_length")
        row = Signal.like(place.line, name="row")
        rows = Signal.like(place.rows, name="rows")
        column = Signal.like(place.length, name="column")
        next_row = Signal.like(place.line)
        m.d.comb += [self.last.eq((rows == 0) & (column == 0)), next_row.eq(row + step)]
        with m.If(self.step):
            m.d.sync += [self.line.eq(self.line + 1), column.eq(column - 1)]
            with m.If(column == 0):
                m.d.sync += [row.eq(next_row), self.line.eq(next_row), rows.eq(rows - 1), column.eq(length)]
        with m.If(self.begin):
            m.d.sync += [
                self.line.eq(place.line),
                row.eq(place.line),
                step.eq(place.line_step),
                rows.eq(place.rows),
                length.eq(place.length),
                column.eq(place.length),
            ]
        return m
