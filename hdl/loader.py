"""The loader: takes frames from the input stream apart and writes their lines into the memories."""

from amaranth import Module, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from twofold.golden import isa
from twofold.golden.config import ArrayConfig, bits_for
from twofold.golden.isa import SECTION_HEADER, STREAM_BITS, Section
from twofold.golden.registers import Error
from twofold.hdl.checksum import after, following
from twofold.hdl.interfaces import LOADING
from twofold.hdl.layouts import record_layout


class Loader(wiring.Component):
    """Takes a beat a cycle while enabled; a line is written in the cycle after its last beat.

    On an error the rest of the frame is dropped.

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
    write : Out({kind, address, data}), write_valid : Out(1)
        A line for a memory.
    loading : Out(`LOADING`)
        What becomes of frames.
    """

    def __init__(self, config: ArrayConfig):
        self.config = config
        self.sections = isa.section_kinds(config)
        self.beats = max(isa.line_beats(config, kind) for kind in self.sections)
        super().__init__(
            {
                "i": In(stream.Signature(data.StructLayout({"data": STREAM_BITS, "last": 1}))),
                "enable": In(1),
                "write": Out(
                    data.StructLayout(
                        {
                            "kind": SECTION_HEADER["kind"].width,
                            "address": SECTION_HEADER["count"].width,
                            "data": self.beats * STREAM_BITS,
                        }
                    )
                ),
                "write_valid": Out(1),
                "loading": Out(LOADING),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        frame = _Frame(self)
        m.d.comb += [self.i.ready.eq(self.enable), frame.taken.eq(self.i.valid & self.enable)]
        m.d.sync += self.write_valid.eq(0)
        with m.If(frame.taken):
            m.d.sync += frame.checksum.eq(following(frame.checksum, frame.beat))
        with m.If(self.write_valid):
            m.d.sync += self.write.address.eq(self.write.address + 1)

        with m.FSM():
            with m.State("MAGIC"):
                m.d.comb += self.loading.between.eq(1)
                with m.If(frame.taken):
                    with m.If(frame.beat != isa.FRAME_MAGIC):
                        m.d.comb += frame.fault.eq(Error.MAGIC)
                    m.next = "BUILD"
                self._stop_at_fault(m, frame)
            with m.State("BUILD"):
                with m.If(frame.taken):
                    with m.If(frame.beat != self.config.build_hash):
                        m.d.comb += frame.fault.eq(Error.BUILD)
                    m.next = "HEADER"
                # The two beats before are known where the frame goes on.
                m.d.sync += frame.checksum.eq(after([isa.FRAME_MAGIC, self.config.build_hash]))
                self._stop_at_fault(m, frame)
            with m.State("HEADER"):
                with m.If(frame.taken):
                    self._header(m, frame)
                self._stop_at_fault(m, frame)
            with m.State("ADDRESS"):
                with m.If(frame.taken):
                    self._address(m, frame)
                self._stop_at_fault(m, frame)
            with m.State("LINE"):
                with m.If(frame.taken):
                    self._line(m, frame)
                self._stop_at_fault(m, frame)
            with m.State("CHECKSUM"):
                with m.If(frame.taken):
                    self._checksum(m, frame)
            with m.State("DROP"):
                with m.If(frame.taken & frame.last):
                    m.next = "MAGIC"
        # Not at the next frame's first beat, which can itself be an error.
        with m.If(self.loading.finished | self.loading.error_valid):
            m.d.sync += [self.loading.has_program.eq(0), self.loading.has_input.eq(0), self.loading.touched.eq(0)]
        return m

    def _header(self, m: Module, frame: "_Frame") -> None:
        """First beat of a section's header: its kind and number of lines."""
        header = frame.header
        m.d.sync += [self.write.kind.eq(header.kind), frame.left.eq(header.count), frame.index.eq(0)]
        m.next = "ADDRESS"
        with m.Switch(header.kind):
            for kind in self.sections:
                with m.Case(kind):
                    m.d.sync += [
                        frame.last_index.eq(isa.line_beats(self.config, kind) - 1),
                        frame.room.eq(isa.line_count(self.config, kind) - header.count),
                    ]
            with m.Case(Section.END):
                m.next = "CHECKSUM"
                with m.If(header.count != 0):
                    m.d.comb += frame.fault.eq(Error.SECTION)
            with m.Default():
                m.d.comb += frame.fault.eq(Error.SECTION)

    def _address(self, m: Module, frame: "_Frame") -> None:
        """Second beat of a section's header: the address of its first line."""
        m.d.sync += self.write.address.eq(frame.beat)
        with m.If(frame.beat > frame.room):
            m.d.comb += frame.fault.eq(Error.RANGE)
        with m.Else():
            with m.If(self.write.kind == Section.FEATURE):
                m.d.sync += self.loading.has_input.eq(1)
            with m.Else():
                m.d.sync += self.loading.touched.eq(1)
            with m.If(self.write.kind == Section.PROGRAM):
                m.d.sync += self.loading.has_program.eq(1)
        m.next = "LINE"
        with m.If(frame.left == 0):
            m.next = "HEADER"

    def _line(self, m: Module, frame: "_Frame") -> None:
        """A beat of a line, which is written after its last one."""
        for n in range(self.beats):
            with m.If(frame.index == n):
                m.d.sync += self.write.data[n * STREAM_BITS : (n + 1) * STREAM_BITS].eq(frame.beat)
        m.d.sync += frame.index.eq(frame.index + 1)
        with m.If(frame.index == frame.last_index):
            m.d.sync += [frame.index.eq(0), frame.left.eq(frame.left - 1), self.write_valid.eq(1)]
            with m.If(frame.left == 1):
                m.next = "HEADER"

    def _checksum(self, m: Module, frame: "_Frame") -> None:
        """The frame's last beat."""
        m.next = "MAGIC"
        with m.If(frame.beat != ~frame.checksum):
            m.d.comb += self._fail(Error.CHECKSUM)
        with m.Elif(~frame.last):
            m.d.comb += self._fail(Error.TRAILING)
        with m.Else():
            m.d.comb += self.loading.finished.eq(1)
        with m.If(~frame.last):
            m.next = "DROP"

    def _fail(self, code: Error) -> list[object]:
        return [self.loading.error.eq(code), self.loading.error_valid.eq(1)]

    def _stop_at_fault(self, m: Module, frame: "_Frame") -> None:
        """In every state that is not the frame's last: a fault ends the frame, and so does an early TLAST."""
        with m.If(frame.taken & (frame.fault != Error.NONE)):
            m.d.comb += self._fail(frame.fault)
            m.next = "DROP"
        with m.Elif(frame.taken & frame.last):
            m.d.comb += self._fail(Error.TRUNCATED)
        with m.If(frame.taken & frame.last):
            m.next = "MAGIC"


class _Frame:
    """The beat that stands, and what is known of the frame that it belongs to."""

    def __init__(self, loader: Loader) -> None:
        self.beat, self.last = loader.i.payload.data, loader.i.payload.last
        self.taken = Signal()
        self.header = data.View(record_layout(SECTION_HEADER), self.beat)
        self.checksum = Signal(STREAM_BITS)
        self.left = Signal(self.header.count.shape())
        self.room = Signal(signed(len(self.header.count) + 1))
        self.index = Signal(bits_for(loader.beats))
        self.last_index = Signal(bits_for(loader.beats))
        self.fault = Signal(8)
