"""The window address generator: which feature line each output position of a pass reads."""

from amaranth import Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from twofold.golden.config import CHAIN, ArrayConfig
from twofold.golden.isa import Pass, Window
from twofold.hdl.layouts import field_shape, record_layout


class WindowGenerator(wiring.Component):
    """Walks a chunk's rectangle of positions in raster order, one position a cycle; counters only.

    With `chain` it walks every input position of the chunk's rows; an output position is complete with the third one
    of a row, and with each one `step_x` further on.

    The first position stands in the cycle after a pass is taken. A new pass can be taken while idle or
    in the cycle of the last position, so that passes follow each other without a gap.

    Parameters
    ----------
    config
        The build.

    Members
    -------
    start : In(stream of {window, address, x, y, chain})
        Geometry (`isa.Window`), the first position's feature line and input coordinates, whether it is a chain pass.
    valid : Out(1)
        A position stands, and an output position is complete with it.
    first : Out(1)
        The pass's first position stands.
    address : Out(range(feature_depth))
        Feature line of the one that stands.
    outside : Out(1)
        It lies outside the input map.
    position : Out(range(acc_depth))
        Number of the output position within the chunk.
    """

    def __init__(self, config: ArrayConfig):
        self.config = config
        self.window = record_layout(Window.record(config))
        taken = {name: field_shape(field) for name, field in Pass.record(config).fields.items()}
        super().__init__(
            {
                "start": In(
                    stream.Signature(
                        data.StructLayout(
                            {
                                "window": self.window,
                                "address": taken["address"],
                                "x": taken["x"],
                                "y": taken["y"],
                                "chain": taken["chain"],
                            }
                        )
                    )
                ),
                "valid": Out(1),
                "first": Out(1),
                "address": Out(taken["address"]),
                "outside": Out(1),
                "position": Out(range(config.acc_depth)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        window = Signal(self.window)
        x = Signal(signed(self.config.coord_bits))
        y = Signal.like(x)
        left = Signal.like(x)
        row_address = Signal.like(self.address)
        column = Signal.like(window.width)
        row = Signal.like(window.height)
        chain = Signal()
        # Positions until an output position is complete.
        pause = Signal.like(window.step_x)
        busy = Signal()

        complete = Signal()
        end_of_row = Signal()
        last = Signal()
        m.d.comb += [
            complete.eq(pause == 0),
            self.valid.eq(busy & complete),
            end_of_row.eq(complete & (column == 1)),
            last.eq(end_of_row & (row == 1)),
            self.start.ready.eq(~busy | last),
            self.outside.eq((x < 0) | (x >= window.in_width) | (y < 0) | (y >= window.in_height)),
        ]
        step = Mux(chain, 1, window.step_x)
        with m.If(busy):
            m.d.sync += [self.first.eq(0), self.position.eq(self.position + complete)]
            with m.If(end_of_row):
                m.d.sync += pause.eq(Mux(chain, CHAIN - 1, 0))
            with m.Elif(chain):
                m.d.sync += pause.eq(Mux(complete, window.step_x, pause) - 1)
            with m.If(last):
                m.d.sync += busy.eq(0)
            with m.Elif(end_of_row):
                m.d.sync += [
                    column.eq(window.width),
                    row.eq(row - 1),
                    x.eq(left),
                    y.eq(y + window.step_y),
                    self.address.eq(row_address + window.row_step),
                    row_address.eq(row_address + window.row_step),
                ]
            with m.Else():
                m.d.sync += [
                    column.eq(column - complete),
                    x.eq(x + step),
                    self.address.eq(self.address + step),
                ]
        with m.If(self.start.valid & self.start.ready):
            start = self.start.payload
            m.d.sync += [
                busy.eq(1),
                self.first.eq(1),
                self.position.eq(0),
                window.eq(start.window),
                chain.eq(start.chain),
                pause.eq(Mux(start.chain, CHAIN - 1, 0)),
                column.eq(start.window.width),
                row.eq(start.window.height),
                left.eq(start.x),
                x.eq(start.x),
                y.eq(start.y),
                row_address.eq(start.address),
                self.address.eq(start.address),
            ]
        return m
