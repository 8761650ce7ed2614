"""The writing half of the AXI4 master: runs of beats and their data in, and whether all of it is written."""

from amaranth import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from twofold.golden.config import ArrayConfig
from twofold.hdl.axi import BLOCK_BITS, ERROR_BIT, address_values, byte_bits, commands, write_channels
from twofold.hdl.bursts import Bursts


class AxiWrite(wiring.Component):
    """Writes runs of beats; addresses and data go their own pace, as AXI4 lets them.

    A run that is taken needs all its data.

    Parameters
    ----------
    config
        The build.

    Members
    -------
    axi : Out(`axi.write_channels`)
        The bus.
    command : In(`axi.commands`)
        Where to write.
    data : In(stream of bus_bits)
        The beats of the runs, in order.
    error : Out(1)
        In this cycle the bus answered an error.
    idle : Out(1)
        All is written and answered.
    """

    def __init__(self, config: ArrayConfig):
        self.config = config
        super().__init__(
            {
                "axi": Out(write_channels(config)),
                "command": In(commands(config)),
                "data": In(stream.Signature(config.bus_bits)),
                "error": Out(1),
                "idle": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        axi = self.axi
        m.submodules.bursts = bursts = Bursts(self.config)
        # The beats that are left, and the place of the next one in its block: bursts end where both halves say so.
        active = Signal()
        left = Signal.like(self.command.payload.count)
        place = Signal(BLOCK_BITS)
        begins, free, taken, last = Signal(), Signal(), Signal(), Signal()
        m.d.comb += [getattr(axi, name).eq(value) for name, value in address_values(self.config, "aw").items()]
        m.d.comb += [
            free.eq(~active | (taken & last)),
            begins.eq(self.command.valid & self.command.ready),
            bursts.command.payload.eq(self.command.payload),
            bursts.command.valid.eq(self.command.valid & free),
            self.command.ready.eq(bursts.command.ready & free),
            bursts.ended.eq(axi.bvalid),
            axi.awvalid.eq(bursts.burst.valid),
            axi.awaddr.eq(bursts.burst.payload.address << byte_bits(self.config)),
            axi.awlen.eq(bursts.burst.payload.length),
            bursts.burst.ready.eq(axi.awready),
            axi.bready.eq(1),
            self.error.eq(axi.bvalid & axi.bresp[ERROR_BIT]),
            axi.wstrb.eq(~0),
            self.data.ready.eq(active & (~axi.wvalid | axi.wready)),
            taken.eq(self.data.valid & self.data.ready),
            last.eq(left == 0),
            self.idle.eq(bursts.idle & ~active & ~axi.wvalid),
        ]
        with m.If(axi.wready):
            m.d.sync += axi.wvalid.eq(0)
        with m.If(taken):
            m.d.sync += [axi.wvalid.eq(1), axi.wdata.eq(self.data.payload), axi.wlast.eq(last | place.all())]
            m.d.sync += [left.eq(left - 1), place.eq(place + 1)]
            with m.If(last):
                m.d.sync += active.eq(0)
        with m.If(begins):
            m.d.sync += [
                active.eq(1),
                left.eq(self.command.payload.count),
                place.eq(self.command.payload.address),
            ]
        return m
