"""A STORE's lines become beats, each once, in order."""

from amaranth import Module, Mux, Signal
from amaranth.lib import wiring

from twofold.formal.bursts import BUILDS
from twofold.formal.checker import Checker
from twofold.formal.faults import Fault
from twofold.formal.rows import WalkedLine, WalkedRows
from twofold.golden.config import ArrayConfig, bits_for
from twofold.golden.isa import Section
from twofold.golden.transfers import bus_beats
from twofold.hdl import line_storer


class StoredLines(Checker):
    """The lines asked for are read when the port is free, two at most ahead, and every beat of each is given once, in
    order; a beat that waits stays. Feature memory holds anything; proven of any one line, so of all.
    """

    name = "stored lines: nothing lost, doubled or reordered, no deadlock"
    component = "line_storer"
    builds = BUILDS
    fault_depth = 8
    faults = (
        Fault("line_storer", "held.eq(held + got - leaves)", "held.eq(held + got)", "held"),
        Fault("line_storer", "wanted & (held < 2)", "wanted & (held < 3)", "read"),
        Fault("line_storer", "stands & self.data.valid & ~leaves", "stands & self.data.valid", "valid"),
        Fault("line_storer", "front.eq(spare), ", "", "front"),
        Fault("line_storer", "got.eq(self.read & self.free)", "got.eq(self.read)", "stands"),
        Fault("line_walk", "next_row.eq(row + step)", "next_row.eq(row + step + 1)", "walk"),
        Fault("line_walk", "column.eq(length)]", "column.eq(0)]", "walk"),
    )

    @classmethod
    def make(cls, config: ArrayConfig) -> wiring.Component:
        """The component, which is a part of another."""
        return line_storer.LineStorer(config)

    def specify(self, m: Module) -> None:
        config, dut = self.config, self.dut
        beats, bits = bus_beats(config, Section.FEATURE), bits_for(config.feature_depth)
        chosen = self.constant(m, "chosen", bits)
        content = self.constant(m, "content", config.feature_bits)
        rows = WalkedRows(m, dut.place, dut.begin)
        at = self._walk(m, rows)
        one = rows.after(at)
        two = rows.after(one)
        held, beat = self.peek("held", 2), self.peeks["beat"]
        stands, spared = self.peek("stands"), self.peek("spared")
        got = dut.read & dut.free
        asked = self.past(m, dut.address, "asked")
        self.assume(~dut.begin | ~dut.busy)
        self.assume(~(stands & (asked == chosen)) | (dut.line == content))

        ahead = WalkedLine(*(Mux(held == 2, c, Mux(held == 1, b, a)) for a, b, c in zip(at, one, two, strict=True)))
        behind = WalkedLine(*(Mux(dut.data.valid, b, a) for a, b in zip(at, one, strict=True)))
        waited = self.past(m, dut.data.valid & ~dut.data.ready & ~dut.clear, "waited") & self.running
        payload = dut.data.payload
        word = Signal(beats * config.bus_bits)
        m.d.comb += word.eq(content)
        here = (at.line[:bits] == chosen) & dut.data.valid
        self.require(
            held=(held <= 2) & (held == dut.data.valid + spared + stands),
            spared=~spared | (dut.data.valid & ~stands),
            over=(held == 0) | ~at.over,
            second=(held != 2) | ~one.over,
            wanted=self.peek("wanted") == ~ahead.over,
            walk=ahead.over | rows.is_at(self, ahead),
            read=dut.read == (~ahead.over & (held < 2)),
            address=~dut.read | (dut.address == ahead.line[:bits]),
            stands=~stands | ((asked == behind.line[:bits]) & self.past(m, got, "got") & self.running),
            front=~here | (self.peek("front", config.feature_bits) == content),
            spare=~(spared & (one.line[:bits] == chosen)) | (self.peek("spare", config.feature_bits) == content),
            beat=self.peeks["beat"] == self._beat(m, beats),
            valid=dut.data.valid == (held > stands),
            content=~here | (payload == word.word_select(beat, config.bus_bits)),
            stays=~waited | (dut.data.valid & (payload == self.past(m, payload, "payload"))),
            busy=dut.busy == ~at.over,
        )

    def _beat(self, m: Module, beats: int) -> Signal:
        """The beat of a line that is given next."""
        number = Signal(bits_for(beats), name="number")
        with m.If(self.dut.data.valid & self.dut.data.ready):
            m.d.sync += number.eq(Mux(number == beats - 1, 0, number + 1))
        with m.If(self.dut.clear):
            m.d.sync += number.eq(0)
        return number

    def _walk(self, m: Module, rows: WalkedRows) -> WalkedLine:
        """The line that is given."""
        dut, place = self.dut, rows.place
        beats = bus_beats(self.config, Section.FEATURE)
        at = WalkedLine(
            Signal.like(place.rows, name="r", reset_less=True),
            Signal.like(place.length, name="k", reset_less=True),
            Signal.like(place.line, name="row", reset_less=True),
            Signal(name="over", init=1),
        )
        after = rows.after(at)
        ends = dut.data.valid & dut.data.ready & (self.peek("beat", bits_for(beats)) == beats - 1)
        with m.If(ends):
            m.d.sync += [now.eq(then) for now, then in zip(at, after, strict=True)]
        with m.If(dut.begin):
            m.d.sync += [at.r.eq(0), at.k.eq(0), at.row.eq(dut.place.line), at.over.eq(0)]
        with m.If(dut.clear):
            m.d.sync += at.over.eq(1)
        return at


PROPERTIES: tuple[type[Checker], ...] = (StoredLines,)
