"""The line storer: lines of feature memory as beats for the bus."""

from amaranth import Array, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from twofold.golden.config import ArrayConfig, bits_for
from twofold.golden.isa import Section
from twofold.golden.transfers import bus_beats
from twofold.hdl.line_walk import LineWalk, rectangle


class LineStorer(wiring.Component):
    """Reads lines ahead, at most two that are not given yet; the low beat of each comes first.

    Parameters
    ----------
    config
        The build.

    Members
    -------
    begin : In(1), place : In(`rectangle`)
        Give these lines; only while not busy.
    read : Out(1), address : Out
        A line is wanted.
    free : In(1)
        Feature memory's port is free in this cycle: the line wanted stands in the next one.
    line : In(feature_bits)
        The line read.
    data : Out(stream of bus_bits)
        The beats.
    clear : In(1)
        Forget all.
    busy : Out(1)
        There are lines to give.
    """

    def __init__(self, config: ArrayConfig):
        self.config = config
        layout = rectangle(config)
        super().__init__(
            {
                "begin": In(1),
                "place": In(layout),
                "read": Out(1),
                "address": Out(range(config.feature_depth)),
                "free": In(1),
                "line": In(config.feature_bits),
                "data": Out(stream.Signature(config.bus_bits)),
                "clear": In(1),
                "busy": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        bits, beats = self.config.bus_bits, bus_beats(self.config, Section.FEATURE)
        m.submodules.walk = walk = LineWalk(self.config)
        got, leaves = Signal(), Signal()
        #: There are lines to be read; one was read in the cycle before.
        wanted = Signal()
        stands = Signal()
        #: Lines that are read and not given.
        held = Signal(2)
        front, spare = (Signal(self.config.feature_bits, name=name, reset_less=True) for name in ("front", "spare"))
        spared = Signal()
        beat = Signal(bits_for(beats))
        m.d.comb += [
            self.read.eq(wanted & (held < 2)),
            self.address.eq(walk.line),
            got.eq(self.read & self.free),
            walk.begin.eq(self.begin),
            walk.place.eq(self.place),
            walk.step.eq(got),
            self.data.payload.eq(Array(front[n * bits : (n + 1) * bits] for n in range(beats))[beat]),
            leaves.eq(self.data.valid & self.data.ready & (beat == beats - 1)),
            self.busy.eq(wanted | (held != 0)),
        ]
        m.d.sync += [stands.eq(got), held.eq(held + got - leaves)]
        with m.If(self.begin):
            m.d.sync += wanted.eq(1)
        with m.Elif(got & walk.last):
            m.d.sync += wanted.eq(0)
        with m.If(self.data.valid & self.data.ready):
            m.d.sync += beat.eq(beat + 1)
        with m.If(leaves):
            m.d.sync += [beat.eq(0), front.eq(spare), self.data.valid.eq(spared), spared.eq(0)]
        # With a line in `spare` none stands: there are two at most.
        with m.If(stands & self.data.valid & ~leaves):
            m.d.sync += [spare.eq(self.line), spared.eq(1)]
        with m.Elif(stands):
            m.d.sync += [front.eq(self.line), self.data.valid.eq(1)]
        with m.If(self.clear):
            m.d.sync += [wanted.eq(0), held.eq(0), stands.eq(0), spared.eq(0), self.data.valid.eq(0), beat.eq(0)]
        return m
