"""The transfer engine: moves lines between the chip's memories and the one outside while a program runs."""

from amaranth import Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect

from twofold.golden.config import ArrayConfig
from twofold.hdl.axi import read_channels, write_channels
from twofold.hdl.axi_read import AxiRead
from twofold.hdl.axi_write import AxiWrite
from twofold.hdl.interfaces import TRANSFERRING, spare_port
from twofold.hdl.line_filler import LineFiller, memory_writes
from twofold.hdl.line_storer import LineStorer
from twofold.hdl.transfer_list import BASE_BITS, TransferList


class Transfers(wiring.Component):
    """Works through the transfer list that docs/machine.md describes.

    After an answer that is an error, an illegal entry or `transferring.stop` it begins nothing more, takes all answers
    that are due, and is idle.

    Parameters
    ----------
    config
        The build.

    Members
    -------
    axi : Out(`axi.read_channels` and `axi.write_channels`)
        The bus.
    base : In(BASE_BITS)
        Page of the list's first entry; constant while not idle.
    transferring : In(`TRANSFERRING`)
        Who runs the program.
    bus : Out(1)
        Since the start the bus answered an error.
    drain_idle : In(1)
        No drain is under way: all that drains wrote can be read. Between two drains it is on for a cycle or more.
    write : Out(`line_filler.memory_writes`), write_valid : Out(1)
        A line for a memory, written in this cycle.
    feature : Out(`spare_port`)
        Feature memory's port, where nobody else needs it.
    """

    def __init__(self, config: ArrayConfig):
        self.config = config
        channels = {**read_channels(config).members, **write_channels(config).members}
        super().__init__(
            {
                "axi": Out(wiring.Signature(channels)),
                "base": In(BASE_BITS),
                "transferring": In(TRANSFERRING),
                "bus": Out(1),
                "drain_idle": In(1),
                "write": Out(memory_writes(config)),
                "write_valid": Out(1),
                "feature": Out(spare_port(config)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        m.submodules.list = walker = TransferList(config)
        m.submodules.reader = reader = AxiRead(config)
        m.submodules.writer = writer = AxiWrite(config)
        m.submodules.filler = filler = LineFiller(config)
        m.submodules.storer = storer = LineStorer(config)
        for part in (reader, writer):
            for name, member in part.axi.signature.members.items():
                outside, inside = getattr(self.axi, name), getattr(part.axi, name)
                m.d.comb += inside.eq(outside) if member.flow is In else outside.eq(inside)
        connect(m, walker.read, reader.command)
        connect(m, walker.write, writer.command)
        connect(m, walker.portion, filler.portion)
        connect(m, reader.data, filler.data)
        connect(m, storer.data, writer.data)
        m.d.comb += [
            walker.base.eq(self.base),
            walker.entry.eq(filler.entry),
            walker.known.eq(filler.known),
            walker.quiet.eq(filler.quiet),
            walker.storing.eq(storer.busy | ~writer.idle),
            storer.begin.eq(walker.store),
            storer.place.eq(walker.place),
            self.write.eq(filler.write),
            self.write_valid.eq(filler.write_valid),
        ]
        self._port(m, filler, storer)
        self._counts(m, walker, filler)
        wrong = (reader.data.valid & reader.data.ready & reader.data.payload.error) | writer.error
        self._end(m, walker, filler, wrong, reader.idle & writer.idle)
        m.d.comb += [reader.flush.eq(~walker.enable), storer.clear.eq(walker.abort), filler.clear.eq(walker.abort)]
        return m

    def _port(self, m: Module, filler: LineFiller, storer: LineStorer) -> None:
        """Lines are never stored while some are loaded, so that the port is wanted by one of both."""
        feature = self.feature
        m.d.comb += [
            filler.free.eq(feature.free),
            feature.read.eq(storer.read),
            feature.address.eq(storer.address),
            storer.free.eq(feature.free),
            storer.line.eq(feature.line),
        ]

    def _counts(self, m: Module, walker: TransferList, filler: LineFiller) -> None:
        """Transfers and drains that are done, and whether the list waits for a drain that has not begun."""
        drained = Signal.like(walker.drained)
        was_idle = Signal(init=1)
        m.d.comb += [
            walker.drained.eq(drained),
            self.transferring.stuck.eq(walker.waiting & filler.quiet & self.drain_idle & was_idle),
        ]
        m.d.sync += [
            was_idle.eq(self.drain_idle),
            drained.eq(drained + (self.drain_idle & ~was_idle)),
            self.transferring.done.eq(self.transferring.done + (filler.moved | walker.stored)),
        ]
        with m.If(walker.start):
            m.d.sync += [drained.eq(0), self.transferring.done.eq(0)]

    def _end(self, m: Module, walker: TransferList, filler: LineFiller, wrong: Value, answered: Value) -> None:
        """Of the list, or of an inference that goes no further."""
        to = self.transferring
        stopping, quiet = Signal(), Signal()
        m.d.comb += [
            quiet.eq(~walker.walking & filler.quiet),
            to.idle.eq(quiet & ~stopping),
            to.finished.eq(to.idle & walker.ended),
            walker.start.eq(to.start),
            walker.enable.eq(~stopping),
            walker.abort.eq(stopping & answered & ~filler.waiting),
        ]
        with m.If(wrong | walker.illegal | (to.stop & ~quiet)):
            m.d.sync += stopping.eq(1)
        with m.Elif(walker.abort):
            m.d.sync += stopping.eq(0)
        with m.If(to.start):
            m.d.sync += [self.bus.eq(0), to.fault.eq(0)]
        with m.If(wrong):
            m.d.sync += self.bus.eq(1)
        with m.If(wrong | walker.illegal):
            m.d.sync += to.fault.eq(1)
