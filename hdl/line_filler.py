"""The line filler: what the bus reads becomes entries of the transfer list and lines of the chip's memories."""

from amaranth import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from twofold.golden.config import ArrayConfig, bits_for
from twofold.golden.isa import SECTION_HEADER, Section, section_kinds
from twofold.golden.transfers import Transfer, bus_beats, entry_beats
from twofold.hdl.layouts import field_shape, record_layout
from twofold.hdl.line_walk import LineWalk, rectangle


def portion(config: ArrayConfig) -> data.StructLayout:
    """An entry of the list, and then the lines of a LOAD into the memory `kind`; none if that is END."""
    return data.StructLayout({"kind": field_shape(Transfer.record(config)["kind"]), "place": rectangle(config)})


def memory_writes(config: ArrayConfig) -> data.StructLayout:
    """A line for a memory: kind, address and data, of which the low bits are the line."""
    beats = max(bus_beats(config, kind) for kind in section_kinds(config))
    address = SECTION_HEADER["count"].width
    return data.StructLayout({"kind": 3, "address": address, "data": beats * config.bus_bits})


class LineFiller(wiring.Component):
    """Takes a beat a cycle; a line is written in the cycle after its last beat, one of feature memory when its port is
    free. Only while such a line waits, or nothing is expected, no beat is taken.

    Parameters
    ----------
    config
        The build.

    Members
    -------
    portion : In(stream of `portion`)
        What the beats that come are; one portion waits while another one comes.
    data : In(stream of {data, error})
        The beats.
    entry : Out(layout of `Transfer`), known : Out(1)
        The last entry that came; `known` in the first cycle in which it is there.
    write : Out(`memory_writes`), write_valid : Out(1)
        A line for a memory, written in this cycle.
    free : In(1)
        Feature memory's port is free in this cycle.
    moved : Out(1)
        The cycle before, the last line of a portion was written.
    clear : In(1)
        Forget all.
    waiting : Out(1)
        A line is complete and not written.
    quiet : Out(1)
        Nothing is expected, all is written and `moved` was said.
    """

    def __init__(self, config: ArrayConfig):
        self.config = config
        super().__init__(
            {
                "portion": In(stream.Signature(portion(config))),
                "data": In(stream.Signature(data.StructLayout({"data": config.bus_bits, "error": 1}))),
                "entry": Out(record_layout(Transfer.record(config))),
                "known": Out(1),
                "write": Out(memory_writes(config)),
                "write_valid": Out(1),
                "free": In(1),
                "moved": Out(1),
                "clear": In(1),
                "waiting": Out(1),
                "quiet": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        at = _Place(self)
        m.submodules.walk = walk = LineWalk(self.config)
        m.d.comb += [
            at.taken.eq(self.data.valid & self.data.ready),
            at.end.eq(at.taken & (at.beat == at.last_beat)),
            at.finish.eq(at.end & Mux(at.listed, walk.last, at.kind == Section.END)),
            at.open.eq(~at.busy | at.finish),
            self.portion.ready.eq(~at.queued),
            self.waiting.eq(at.full),
            self.quiet.eq(~at.busy & ~at.queued & ~at.full & ~self.moved),
            walk.begin.eq(at.open & at.queued),
            walk.place.eq(at.queue.place),
            walk.step.eq(at.end & at.listed),
        ]
        self._portions(m, at)
        self._beats(m, at)
        self._lines(m, at, walk)
        with m.If(self.clear):
            m.d.sync += [at.busy.eq(0), at.queued.eq(0), at.beat.eq(0)]
        return m

    def _portions(self, m: Module, at: "_Place") -> None:
        """One comes, another one waits."""
        with m.If(at.end):
            m.d.sync += at.listed.eq(1)
        with m.If(at.open):
            m.d.sync += [at.busy.eq(at.queued), at.kind.eq(at.queue.kind), at.listed.eq(0), at.queued.eq(0)]
        with m.If(self.portion.valid & self.portion.ready):
            m.d.sync += [at.queued.eq(1), at.queue.eq(self.portion.payload)]

    def _beats(self, m: Module, at: "_Place") -> None:
        """Where a beat goes."""
        bits, entry = self.config.bus_bits, self.entry.as_value()
        with m.If(at.taken):
            m.d.sync += at.beat.eq(Mux(at.end, 0, at.beat + 1))
        m.d.comb += at.last_beat.eq(entry_beats(self.config) - 1)
        with m.If(at.listed):
            with m.Switch(at.kind):
                for kind in section_kinds(self.config):
                    with m.Case(kind):
                        m.d.comb += at.last_beat.eq(bus_beats(self.config, kind) - 1)
        for n in range(entry_beats(self.config)):
            with m.If(at.taken & ~at.listed & (at.beat == n)):
                m.d.sync += entry[n * bits : (n + 1) * bits].eq(self.data.payload.data)
        for n in range(len(self.write.data) // bits):
            with m.If(at.taken & at.listed & (at.beat == n)):
                m.d.sync += self.write.data[n * bits : (n + 1) * bits].eq(self.data.payload.data)
        m.d.sync += self.known.eq(at.end & ~at.listed)

    def _lines(self, m: Module, at: "_Place", walk: LineWalk) -> None:
        """A line that is complete is written, or waits for feature memory's port."""
        final = Signal()
        waits = Signal()
        m.d.comb += [
            waits.eq((self.write.kind == Section.FEATURE) & ~self.free),
            self.write_valid.eq(at.full & ~waits),
            self.data.ready.eq(at.busy & ~(at.full & waits)),
        ]
        m.d.sync += self.moved.eq(self.write_valid & final)
        with m.If(self.write_valid):
            m.d.sync += at.full.eq(0)
        with m.If(at.end & at.listed):
            m.d.sync += [
                at.full.eq(1),
                self.write.kind.eq(at.kind),
                self.write.address.eq(walk.line),
                final.eq(walk.last),
            ]


class _Place:
    """Where the filler stands.

    Attributes
    ----------
    busy, kind, listed
        A portion comes; its memory; its entry is there.
    queued, queue
        Another one waits.
    beat, last_beat, taken, end
        The next beat of the entry or line, and the last one; it is taken; it is the last one.
    finish, open
        The portion's last beat is taken; the next portion can begin.
    full
        A line is complete and not written.
    """

    def __init__(self, filler: LineFiller) -> None:
        config = filler.config
        layout = portion(config)
        beats = max(entry_beats(config), len(filler.write.data) // config.bus_bits)
        self.busy = Signal()
        self.kind = Signal(layout["kind"].shape)
        self.listed = Signal()
        self.queued = Signal()
        self.queue = Signal(layout)
        self.beat = Signal(bits_for(beats))
        self.last_beat = Signal(bits_for(beats))
        self.taken = Signal()
        self.end = Signal()
        self.finish = Signal()
        self.open = Signal()
        self.full = Signal()
