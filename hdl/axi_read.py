"""The reading half of the AXI4 master: runs of beats in, their data out."""

from amaranth import Module
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from twofold.golden.config import ArrayConfig
from twofold.hdl.axi import ERROR_BIT, address_values, byte_bits, commands, read_channels
from twofold.hdl.bursts import Bursts


class AxiRead(wiring.Component):
    """Asks for runs as fast as the bus takes the addresses; the beats come in the order of the runs.

    Parameters
    ----------
    config
        The build.

    Members
    -------
    axi : Out(`axi.read_channels`)
        The bus.
    command : In(`axi.commands`)
        What to read.
    flush : In(1)
        Ask for nothing more of the runs taken so far.
    data : Out(stream of {data, error})
        The beats, and whether the bus answered an error.
    idle : Out(1)
        All is asked for, and all that was asked for is there.
    """

    def __init__(self, config: ArrayConfig):
        self.config = config
        super().__init__(
            {
                "axi": Out(read_channels(config)),
                "command": In(commands(config)),
                "flush": In(1),
                "data": Out(stream.Signature(data.StructLayout({"data": config.bus_bits, "error": 1}))),
                "idle": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        axi = self.axi
        m.submodules.bursts = bursts = Bursts(self.config)
        m.d.comb += [getattr(axi, name).eq(value) for name, value in address_values(self.config, "ar").items()]
        m.d.comb += [
            bursts.command.payload.eq(self.command.payload),
            bursts.command.valid.eq(self.command.valid),
            self.command.ready.eq(bursts.command.ready),
            bursts.flush.eq(self.flush),
            bursts.ended.eq(axi.rvalid & axi.rready & axi.rlast),
            self.idle.eq(bursts.idle),
            axi.arvalid.eq(bursts.burst.valid),
            axi.araddr.eq(bursts.burst.payload.address << byte_bits(self.config)),
            axi.arlen.eq(bursts.burst.payload.length),
            bursts.burst.ready.eq(axi.arready),
            self.data.valid.eq(axi.rvalid),
            self.data.payload.data.eq(axi.rdata),
            self.data.payload.error.eq(axi.rresp[ERROR_BIT]),
            axi.rready.eq(self.data.ready),
        ]
        return m
