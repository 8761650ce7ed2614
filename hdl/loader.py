"""The loader: takes frames from the input stream apart and writes their lines into the memories."""

from amaranth import Module, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from twofold.golden import isa
from twofold.golden.config import ArrayConfig, bits_for
from twofold.golden.isa import STREAM_BITS, Error, Section
from twofold.hdl.layouts import fields_layout


class Loader(wiring.Component):
    """Takes a beat a cycle while enabled; a line is written in the cycle after its last beat.

    On an error the code stands with `error_valid` for a cycle, and the rest of the frame is dropped.

    Parameters
    ----------
    config
        The build.

    Members
    -------
    i : In(stream of {data, last})
        Frames as docs/machine.md describes them.
    enable : In(1)
        Take beats.
    between : Out(1)
        No frame has begun.
    write : Out({kind, address, data}), write_valid : Out(1)
        A line for a memory.
    finished : Out(1)
        A frame ended well in this cycle; `has_program` and `has_input` say what it held.
    error : Out(8), error_valid : Out(1)
        A frame failed in this cycle; `touched` says whether it wrote to anything but feature memory.
    """

    def __init__(self, config: ArrayConfig):
        self.config = config
        self.sections = [kind for kind in Section if kind is not Section.END]
        if config.pe == "log":
            self.sections.remove(Section.POINTS)
        self.beats = max(isa.line_beats(config, kind) for kind in self.sections)
        super().__init__(
            {
                "i": In(stream.Signature(data.StructLayout({"data": STREAM_BITS, "last": 1}))),
                "enable": In(1),
                "between": Out(1),
                "write": Out(
                    data.StructLayout(
                        {
                            "kind": isa.SECTION_FIELDS["kind"],
                            "address": isa.SECTION_FIELDS["count"],
                            "data": self.beats * STREAM_BITS,
                        }
                    )
                ),
                "write_valid": Out(1),
                "finished": Out(1),
                "has_program": Out(1),
                "has_input": Out(1),
                "touched": Out(1),
                "error": Out(8),
                "error_valid": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        config = self.config
        beat = self.i.payload.data
        last = self.i.payload.last
        taken = Signal()
        m.d.comb += [self.i.ready.eq(self.enable), taken.eq(self.i.valid & self.enable)]

        header = data.View(fields_layout(isa.SECTION_FIELDS), beat)
        checksum = Signal(STREAM_BITS)
        left = Signal(header.count.shape())
        room = Signal(signed(len(header.count) + 1))
        index = Signal(bits_for(self.beats))
        last_index = Signal(bits_for(self.beats))
        fault = Signal(8)

        m.d.sync += self.write_valid.eq(0)
        with m.If(taken):
            m.d.sync += checksum.eq(checksum + beat)
        with m.If(self.write_valid):
            m.d.sync += self.write.address.eq(self.write.address + 1)

        with m.FSM():
            with m.State("MAGIC"):
                m.d.comb += self.between.eq(1)
                with m.If(taken):
                    m.d.sync += checksum.eq(beat)
                    with m.If(beat != isa.FRAME_MAGIC):
                        m.d.comb += fault.eq(Error.MAGIC)
                    m.next = "BUILD"
                self._stop_at_fault(m, taken, last, fault)
            with m.State("BUILD"):
                with m.If(taken):
                    with m.If(beat != config.build_hash):
                        m.d.comb += fault.eq(Error.BUILD)
                    m.next = "HEADER"
                self._stop_at_fault(m, taken, last, fault)
            with m.State("HEADER"):
                with m.If(taken):
                    m.d.sync += [self.write.kind.eq(header.kind), left.eq(header.count), index.eq(0)]
                    m.next = "ADDRESS"
                    with m.Switch(header.kind):
                        for kind in self.sections:
                            with m.Case(kind):
                                m.d.sync += [
                                    last_index.eq(isa.line_beats(config, kind) - 1),
                                    room.eq(isa.line_count(config, kind) - header.count),
                                ]
                        with m.Case(Section.END):
                            m.next = "CHECKSUM"
                            with m.If(header.count != 0):
                                m.d.comb += fault.eq(Error.SECTION)
                        with m.Default():
                            m.d.comb += fault.eq(Error.SECTION)
                self._stop_at_fault(m, taken, last, fault)
            with m.State("ADDRESS"):
                with m.If(taken):
                    m.d.sync += self.write.address.eq(beat)
                    with m.If(beat > room):
                        m.d.comb += fault.eq(Error.RANGE)
                    with m.Else():
                        with m.If(self.write.kind == Section.FEATURE):
                            m.d.sync += self.has_input.eq(1)
                        with m.Else():
                            m.d.sync += self.touched.eq(1)
                        with m.If(self.write.kind == Section.PROGRAM):
                            m.d.sync += self.has_program.eq(1)
                    m.next = "LINE"
                    with m.If(left == 0):
                        m.next = "HEADER"
                self._stop_at_fault(m, taken, last, fault)
            with m.State("LINE"):
                with m.If(taken):
                    for n in range(self.beats):
                        with m.If(index == n):
                            m.d.sync += self.write.data[n * STREAM_BITS : (n + 1) * STREAM_BITS].eq(beat)
                    m.d.sync += index.eq(index + 1)
                    with m.If(index == last_index):
                        m.d.sync += [index.eq(0), left.eq(left - 1), self.write_valid.eq(1)]
                        with m.If(left == 1):
                            m.next = "HEADER"
                self._stop_at_fault(m, taken, last, fault)
            with m.State("CHECKSUM"):
                with m.If(taken):
                    m.next = "MAGIC"
                    with m.If(beat != checksum):
                        m.d.comb += self._fail(Error.CHECKSUM)
                    with m.Elif(~last):
                        m.d.comb += self._fail(Error.TRAILING)
                    with m.Else():
                        m.d.comb += self.finished.eq(1)
                    with m.If(~last):
                        m.next = "DROP"
            with m.State("DROP"):
                with m.If(taken & last):
                    m.next = "MAGIC"
        # Not at the next frame's first beat, which can itself be an error.
        with m.If(self.finished | self.error_valid):
            m.d.sync += [self.has_program.eq(0), self.has_input.eq(0), self.touched.eq(0)]
        return m

    def _fail(self, code):
        return [self.error.eq(code), self.error_valid.eq(1)]

    def _stop_at_fault(self, m, taken, last, fault):
        """In every state that is not the frame's last: a fault ends the frame, and so does an early TLAST."""
        with m.If(taken & (fault != Error.NONE)):
            m.d.comb += self._fail(fault)
            m.next = "DROP"
        with m.Elif(taken & last):
            m.d.comb += self._fail(Error.TRUNCATED)
        with m.If(taken & last):
            m.next = "MAGIC"
