"""What the bus reads goes where the portions say, each beat once, in order."""

from amaranth import Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring

from twofold.formal.bursts import BUILDS
from twofold.formal.checker import Checker
from twofold.formal.faults import Fault
from twofold.formal.rows import WalkedLine, WalkedRows
from twofold.golden.config import ArrayConfig, bits_for
from twofold.golden.isa import Section, section_kinds
from twofold.golden.transfers import bus_beats, entry_beats
from twofold.hdl import line_filler


class FilledLines(Checker):
    """Every portion is an entry and then its lines; a line is written once, to its place, in the cycle after its last
    beat or when feature memory's port is free. A beat waits only for such a line, or for a portion.
    """

    name = "loaded lines: nothing lost, doubled or reordered, no deadlock"
    component = "line_filler"
    builds = BUILDS
    fault_depth = 14
    faults = (
        Fault("line_filler", "Mux(at.end, 0, at.beat + 1)", "Mux(at.end, 1, at.beat + 1)", "beat"),
        Fault("line_filler", "walk.step.eq(at.end & at.listed)", "walk.step.eq(at.end)", "walk"),
        Fault("line_filler", "at.busy & ~(at.full & waits)", "at.busy", "ready"),
        Fault("line_filler", "self.write_valid.eq(at.full & ~waits)", "self.write_valid.eq(at.full)", "write"),
        Fault("line_filler", "self.portion.ready.eq(~at.queued)", "self.portion.ready.eq(1)", "room"),
        Fault("line_filler", "self.write_valid & final", "self.write_valid", "moved"),
        Fault("line_filler", "self.known.eq(at.end & ~at.listed)", "self.known.eq(at.end)", "known"),
        Fault("line_filler", "bus_beats(self.config, kind) - 1", "bus_beats(self.config, kind)", "last_beat"),
    )

    @classmethod
    def make(cls, config: ArrayConfig) -> wiring.Component:
        """The component, which is a part of another."""
        return line_filler.LineFiller(config)

    def specify(self, m: Module) -> None:
        config, dut = self.config, self.dut
        kinds, bits = section_kinds(config), config.bus_bits
        words = {kind: bus_beats(config, kind) for kind in kinds}
        most = max(entry_beats(config), *words.values())
        given = dut.portion.payload
        known_kind = Cat(given.kind == kind for kind in (*kinds, Section.END)).any()
        pushed, taken = dut.portion.valid & dut.portion.ready, dut.data.valid & dut.data.ready
        self.assume(~dut.portion.valid | known_kind)

        busy, listed, waiting = Signal(name="comes"), Signal(name="entry_is_there"), Signal(name="another")
        kind, next_kind = (Signal(3, name=name, reset_less=True) for name in ("kind", "next_kind"))
        next_place = Signal.like(given.place, name="next_place", reset_less=True)
        b = Signal(range(most + 1), name="b")
        history = Signal(most * bits, reset_less=True)
        count = Signal(range(most + 1))
        m.d.comb += count.eq(entry_beats(config))
        for choice in kinds:
            with m.If(listed & (kind == choice)):
                m.d.comb += count.eq(words[choice])
        opens = Signal()
        rows = WalkedRows(m, next_place, opens & waiting)
        at = WalkedLine(
            Signal.like(given.place.rows, name="r", reset_less=True),
            Signal.like(given.place.length, name="k", reset_less=True),
            Signal.like(given.place.line, name="row", reset_less=True),
            Signal(name="over"),
        )
        whole = taken & (b == count - 1)
        line_ends = whole & listed
        m.d.comb += opens.eq(~busy | (whole & Mux(listed, rows.last(at), kind == Section.END)))
        with m.If(taken):
            m.d.sync += [history.eq(Cat(history[bits:], dut.data.payload.data)), b.eq(Mux(whole, 0, b + 1))]
        with m.If(whole):
            m.d.sync += listed.eq(1)
        with m.If(line_ends):
            m.d.sync += [now.eq(then) for now, then in zip(at, rows.after(at), strict=True)]
        with m.If(opens):
            m.d.sync += [busy.eq(waiting), kind.eq(next_kind), listed.eq(0), waiting.eq(0)]
            m.d.sync += [at.r.eq(0), at.k.eq(0), at.row.eq(next_place.line), at.over.eq(0)]
        with m.If(pushed):
            m.d.sync += [waiting.eq(1), next_kind.eq(given.kind), next_place.eq(given.place)]

        #: The line that is complete and not written.
        full, final = Signal(name="complete"), Signal(name="ends", reset_less=True)
        to, of = Signal.like(given.place.line, reset_less=True), Signal(3, reset_less=True)
        writes = full & ((of != Section.FEATURE) | dut.free)
        m.d.sync += full.eq(line_ends | (full & ~writes))
        with m.If(line_ends):
            m.d.sync += [to.eq(at.line), of.eq(kind), final.eq(rows.last(at))]
        self.assume(~dut.clear | (~full & ~dut.data.valid & ~dut.portion.valid))
        with m.If(dut.clear):
            m.d.sync += [busy.eq(0), waiting.eq(0), b.eq(0)]

        inner = bits_for(max(entry_beats(config), len(dut.write.data) // bits))
        line, entry = dut.write.data, dut.entry.as_value()
        self.require(
            busy=(self.peek("busy") == busy) & (self.peek("queued") == waiting),
            room=dut.portion.ready == ~waiting,
            queue=~waiting | (self.peek("queue", len(given.as_value())) == Cat(next_kind, next_place.as_value())),
            kinds=~(busy & listed) | Cat(kind == choice for choice in kinds).any(),
            next_kinds=~waiting | Cat(next_kind == choice for choice in (*kinds, Section.END)).any(),
            held_kinds=~busy | Cat(kind == choice for choice in (*kinds, Section.END)).any(),
            listed=~busy | ((self.peek("listed") == listed) & (self.peek("kind", 3) == kind)),
            beat=(self.peek("beat", inner) == b) & (busy | (b == 0)) & (~busy | (b < count)),
            last_beat=~busy | (self.peek("last_beat", inner) == count - 1),
            walk=~busy | (rows.is_at(self, at)),
            ready=dut.data.ready == (busy & ~(full & ~writes)),
            full=self.peek("full") == full,
            write=(dut.write_valid == writes) & (dut.waiting == full),
            place=~full | ((dut.write.kind == of) & (dut.write.address == to)),
            final=~full | (self.peek("final") == final),
            legal=~full | Cat(of == choice for choice in kinds).any(),
            words=self._begun(m, busy & listed, b, line, history, most),
            entries=self._begun(m, busy & ~listed, b, entry, history, most),
            line=Cat(
                ~(full & (of == choice)) | (line[: n * bits] == history[(most - n) * bits :])
                for choice, n in words.items()
            ).all(),
            entry=~dut.known | (entry == history[(most - entry_beats(config)) * bits :][: len(entry)]),
            known=dut.known == (self.past(m, whole & ~listed, "entered") & self.running),
            stays=(self.past(m, taken & ~listed, "changes") | ~self.running) | (entry == self.past(m, entry, "entry")),
            moved=dut.moved == (self.past(m, writes & final, "moved") & self.running),
            quiet=dut.quiet == ~(busy | waiting | full | dut.moved),
        )

    def _begun(self, m: Module, on: Value, b: Value, held: Value, history: Value, most: int) -> Value:
        """The beats taken so far of an entry or line stand in its low bits."""
        bits = self.config.bus_bits
        good = []
        for count in range(1, most):
            width = min(count * bits, len(held))
            good.append(~(on & (b == count)) | (held[:width] == history[(most - count) * bits :][:width]))
        return Cat(good).all()


PROPERTIES: tuple[type[Checker], ...] = (FilledLines,)
