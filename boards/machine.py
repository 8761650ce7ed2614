"""The machine behind a serial line: what goes onto a board."""

from amaranth import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from twofold.boards.bridge import MACHINE, Bridge
from twofold.boards.uart import Receiver, Transmitter
from twofold.golden.config import ArrayConfig
from twofold.hdl.top import Twofold


class SerialMachine(wiring.Component):
    """A build of the machine whose host is at the other end of a serial line.

    Parameters
    ----------
    config
        The build.
    divisor
        Clock cycles a bit.

    Members
    -------
    rx : In(1), tx : Out(1)
        The line.
    """

    def __init__(self, config: ArrayConfig, divisor: int):
        self.config = config
        self.divisor = divisor
        super().__init__({"rx": In(1, init=1), "tx": Out(1, init=1)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.receiver = receiver = Receiver(self.divisor)
        m.submodules.transmitter = transmitter = Transmitter(self.divisor)
        m.submodules.bridge = bridge = Bridge()
        m.submodules.machine = machine = Twofold(self.config)
        wiring.connect(m, bridge.o, transmitter.i)
        m.d.comb += [
            receiver.rx.eq(self.rx),
            self.tx.eq(transmitter.tx),
            bridge.byte.eq(receiver.byte),
            bridge.valid.eq(receiver.valid),
            machine.s_axil_wstrb.eq(-1),
        ]
        for name, member in MACHINE.items():
            here, there = getattr(bridge, name), getattr(machine, name)
            m.d.comb += there.eq(here) if member.flow is Out else here.eq(there)
        return m
