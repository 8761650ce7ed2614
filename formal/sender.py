"""The sender loses, doubles and reorders nothing, and never stops for long."""

from amaranth import Module, Mux, Signal

from twofold.formal.checker import Checker
from twofold.formal.faults import Fault
from twofold.golden.config import bits_for
from twofold.golden.isa import STREAM_BITS, Section, line_beats


class SenderFrames(Checker):
    """A frame holds every beat of every line asked for, in order, once; a beat that waits stays; two cycles of pause.

    The feature memory holds anything; proven of any one line, so of all.
    """

    name = "output stream: nothing lost, doubled or reordered, no deadlock"
    component = "sender"
    short = ("log_4x4",)
    fault_depth = 20  # a line of 16 lanes is four beats, and some faults show at the second one
    faults = (
        Fault("sender", "feature.address + 1), left", "feature.address + 2), left", "content"),
        Fault("sender", "left.eq(left - 1)", "left.eq(left - 2)", "sent"),
        Fault("sender", "last_beat & (left == 0)", "last_beat & (left == 1)", "last"),
        Fault("sender", "with m.If(self.o.ready):", "with m.If(1):", "stays"),
        Fault("sender", 'm.next = "TAKE"', 'm.next = "READ"', "soon"),
    )

    def specify(self, m: Module) -> None:
        config, dut = self.config, self.dut
        beats = line_beats(config, Section.FEATURE)
        k = bits_for(config.feature_depth)
        chosen = self.constant(m, "chosen", k)
        content = self.constant(m, "content", config.feature_bits)
        asked = self.past(m, dut.feature.address, "address")
        self.assume(~(self.running & (asked == chosen)) | (dut.feature.line == content))

        taken = dut.send.valid & dut.send.ready
        moved = dut.o.valid & dut.o.ready
        active = Signal()
        start, count, n = (Signal(k, name=name, reset_less=True) for name in ("start", "count", "n"))
        b = Signal(range(beats + 1), reset_less=True)
        pause = Signal(3, reset_less=True)
        last = (n == count) & (b == beats - 1)
        with m.If(moved):
            m.d.sync += b.eq(b + 1)
            with m.If(b == beats - 1):
                m.d.sync += [b.eq(0), n.eq(n + 1)]
            with m.If(last):
                m.d.sync += active.eq(0)
        m.d.sync += pause.eq(Mux(dut.o.valid, 0, pause + 1))
        with m.If(taken):
            m.d.sync += [active.eq(1), n.eq(0), b.eq(0), pause.eq(0)]
            m.d.sync += [start.eq(dut.send.payload.address), count.eq(dut.send.payload.count)]
        word = Signal(beats * STREAM_BITS)
        m.d.comb += word.eq(content)
        current = Signal(k)
        m.d.comb += current.eq(start + n)
        waited = self.past(m, dut.o.valid & ~dut.o.ready, "waited") & self.running
        payload = dut.o.payload.as_value()
        state = self.peek("fsm_state", 2)
        self.require(
            free=dut.send.ready == ~active,
            idle=(state == 0) == ~active,
            valid=~dut.o.valid | active,
            within=~active | ((n <= count) & (b < beats)),
            address=~active | (dut.feature.address == current),
            left=~active | (self.peek("left", k) == count - n),
            order=~dut.o.valid | (self.peek("beat", bits_for(beats)) == b),
            fresh=~active | dut.o.valid | (b == 0),
            line=~(dut.o.valid & (current == chosen)) | (self.peek("line", len(word)) == word),
            content=~(dut.o.valid & (current == chosen)) | (dut.o.payload.data == word.word_select(b, STREAM_BITS)),
            last=~dut.o.valid | (dut.o.payload.last == last),
            sent=dut.sent == (moved & last),
            stays=~waited | (dut.o.valid & (payload == self.past(m, payload, "payload"))),
            reading=~(state == 1) | (pause == 0),
            taking=~(state == 2) | ((pause == 1) & self.running & (asked == current)),
            soon=~active | dut.o.valid | (pause <= 1),
        )


PROPERTIES: tuple[type[Checker], ...] = (SenderFrames,)
