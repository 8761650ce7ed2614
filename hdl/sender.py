"""The sender: feature lines out to the host."""

from amaranth import Array, Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from twofold.golden.config import ArrayConfig, bits_for
from twofold.golden.isa import STREAM_BITS, Output, Section, line_beats
from twofold.hdl.interfaces import read_port
from twofold.hdl.layouts import record_layout


class Sender(wiring.Component):
    """Sends a run of feature lines as one frame, a line's beats low bits first.

    Parameters
    ----------
    config
        The build.

    Members
    -------
    send : In(stream of `isa.Output`)
        First line and number of lines minus one; taken only while nothing is being sent.
    sent : Out(1)
        The frame's last beat is taken in this cycle.
    feature : Out(`read_port`)
        Reads feature memory.
    o : Out(stream of {data, last})
        The frame.
    """

    def __init__(self, config: ArrayConfig):
        self.config = config
        self.operands = record_layout(Output.record(config))
        super().__init__(
            {
                "send": In(stream.Signature(self.operands)),
                "sent": Out(1),
                "feature": Out(read_port(range(config.feature_depth), config.feature_bits)),
                "o": Out(stream.Signature(data.StructLayout({"data": STREAM_BITS, "last": 1}))),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        beats = line_beats(self.config, Section.FEATURE)
        left = Signal.like(self.send.payload.count)
        line = Signal(beats * STREAM_BITS)
        beat = Signal(bits_for(beats))
        last_beat = Signal()
        m.d.comb += [
            last_beat.eq(beat == beats - 1),
            self.o.payload.data.eq(Array(line.word_select(n, STREAM_BITS) for n in range(beats))[beat]),
            self.o.payload.last.eq(last_beat & (left == 0)),
        ]
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.send.ready.eq(1)
                with m.If(self.send.valid):
                    m.d.sync += [self.feature.address.eq(self.send.payload.address), left.eq(self.send.payload.count)]
                    m.next = "READ"
            with m.State("READ"):
                m.next = "TAKE"
            with m.State("TAKE"):
                m.d.sync += [line.eq(self.feature.line), beat.eq(0)]
                m.next = "SEND"
            with m.State("SEND"):
                m.d.comb += self.o.valid.eq(1)
                with m.If(self.o.ready):
                    m.d.sync += beat.eq(beat + 1)
                    with m.If(last_beat):
                        m.d.sync += [self.feature.address.eq(self.feature.address + 1), left.eq(left - 1)]
                        m.next = "READ"
                        with m.If(left == 0):
                            m.d.comb += self.sent.eq(1)
                            m.next = "IDLE"
        return m
