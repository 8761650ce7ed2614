"""The transfer list is followed entry by entry; nothing begins before it may."""

from amaranth import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring

from twofold.formal.bursts import BUILDS
from twofold.formal.checker import Checker
from twofold.formal.faults import Fault
from twofold.golden.config import ArrayConfig
from twofold.golden.isa import Section, section_kinds
from twofold.golden.transfers import bus_beats, entry_beats
from twofold.hdl import transfer_list
from twofold.hdl.axi import beat_bits, page_bits

#: What is under way, by the numbers that Amaranth gives the states.
IDLE, ENTRY, TAKE, ROWS, ANSWERS = range(5)


class ListFollowed(Checker):
    """Entries are asked for in order, one at a time, each before the lines of the transfer before it; of a transfer
    every row is asked for once, at its address and with its beats; a transfer begins when it may, and nothing while
    another one is stored. What is not enabled begins nothing.
    """

    name = "transfer list: every entry and row once, in order, when it may begin; no deadlock"
    component = "transfer_list"
    builds = BUILDS
    fault_depth = 12
    faults = (
        Fault("transfer_list", "at.next + entry_beats(self.config)", "at.next + 1", "next"),
        Fault("transfer_list", "entry.after > self.drained", "entry.after > self.drained + 1", "phase"),
        Fault("transfer_list", "m.Elif(~store | self.quiet)", "m.Elif(1)", "phase"),
        Fault("transfer_list", "reduce(add, parts) + (beats - 1)", "reduce(add, parts) + beats", "count"),
        Fault("transfer_list", "at.address + at.step", "at.address", "row"),
        Fault("transfer_list", "self.read.valid.eq(self.enable & at.load)", "self.read.valid.eq(at.load)", "reads"),
        Fault(
            "transfer_list", "self.portion.valid.eq(self.enable & self.read.ready)", "self.portion.valid.eq(1)", "asks"
        ),
        Fault("transfer_list", "(~entry.store | store)", "1", "illegal"),
        Fault("transfer_list", "with m.If(~self.storing):", "with m.If(1):", "phase"),
    )

    @classmethod
    def make(cls, config: ArrayConfig) -> wiring.Component:
        """The component, which is a part of another."""
        return transfer_list.TransferList(config)

    def specify(self, m: Module) -> None:
        config, dut = self.config, self.dut
        entry, bits = dut.entry, beat_bits(config)
        page = Cat(Const(0, page_bits(config)), dut.base)
        phase, known, owed = Signal(3), Signal(), Signal()
        at = Signal(bits, reset_less=True)
        load, store = Signal(), Signal()
        kind = Signal.like(entry.kind, reset_less=True)
        place = Signal.like(dut.place, reset_less=True)
        row, step, beats = (Signal(bits, name=name, reset_less=True) for name in ("row", "step", "beats"))
        rows = Signal.like(entry.rows, reset_less=True)
        asked = dut.read.valid & dut.read.ready
        moved = asked | (dut.write.valid & dut.write.ready)
        looks = (phase == TAKE) & known & dut.enable
        ends, legal, may = self._choice(entry)
        takes = looks & ~ends & legal & may
        self.assume(~dut.start | (~dut.walking & ~dut.abort))
        self.assume(~dut.known | owed)
        self.assume(~dut.abort | ~dut.enable)
        self.assume((self.past(m, dut.base, "base") == dut.base) | ~self.running | ~dut.walking)

        m.d.sync += known.eq(dut.known | known)
        with m.If(dut.known):
            m.d.sync += owed.eq(0)
        with m.Switch(phase):
            with m.Case(IDLE):
                with m.If(dut.start):
                    m.d.sync += [phase.eq(ENTRY), at.eq(page), load.eq(0), store.eq(0), known.eq(0), owed.eq(0)]
            with m.Case(ENTRY):
                with m.If(asked):
                    m.d.sync += [phase.eq(Mux(load | store, ROWS, TAKE)), at.eq(at + entry_beats(config)), owed.eq(1)]
            with m.Case(ROWS):
                with m.If(moved):
                    m.d.sync += [row.eq(row + step), rows.eq(rows - 1)]
                    with m.If(rows == 0):
                        m.d.sync += phase.eq(Mux(store, ANSWERS, TAKE))
            with m.Case(ANSWERS):
                with m.If(~dut.storing):
                    m.d.sync += phase.eq(TAKE)
            with m.Case(TAKE):
                with m.If(looks & ends):
                    m.d.sync += phase.eq(IDLE)
                with m.If(takes):
                    m.d.sync += [phase.eq(ENTRY), known.eq(0), load.eq(~entry.store), store.eq(entry.store)]
                    m.d.sync += [kind.eq(entry.kind), row.eq(page + entry.memory), step.eq(entry.memory_step)]
                    m.d.sync += [rows.eq(entry.rows), beats.eq(self._beats(entry) - 1)]
                    m.d.sync += [place[name].eq(entry[name]) for name in ("line", "line_step", "rows", "length")]
        with m.If(dut.abort):
            m.d.sync += phase.eq(IDLE)
        ended = Signal(name="list_ended")
        with m.If(looks & ends):
            m.d.sync += ended.eq(1)
        with m.If(dut.abort | (dut.start & (phase == IDLE))):
            m.d.sync += ended.eq(0)
        read, write, portion = dut.read, dut.write, dut.portion
        self.require(
            phase=self.peek("fsm_state", 3) == phase,
            phases=phase <= ANSWERS,
            known=self.peek("entry_known") == known,
            owed=~(owed & known),
            entering=(phase != ENTRY) | ~(owed | known),
            next=(phase == IDLE) | (self.peek("next", bits) == at),
            kinds=(phase == IDLE) | ((self.peek("load") == load) & (self.peek("is_store") == store) & ~(load & store)),
            moves=(phase != ROWS) | load | store,
            answers=(phase != ANSWERS) | store,
            kind=~load | (phase == IDLE) | (self.peek("kind", 3) == kind),
            place=~(load | store) | (phase == IDLE) | (dut.place == place),
            row=~((phase == ROWS) | ((phase == ENTRY) & (load | store))) | (self.peek("address", bits) == row),
            step=~(load | store) | (phase == IDLE) | (self.peek("step", bits) == step),
            rows=~((phase == ROWS) | ((phase == ENTRY) & (load | store))) | (self.peek("rows", len(rows)) == rows),
            count=~(load | store) | (phase == IDLE) | (self.peek("count", bits) == beats),
            reads=read.valid == (dut.enable & (((phase == ENTRY) & portion.ready) | ((phase == ROWS) & load))),
            asks=portion.valid == (dut.enable & (phase == ENTRY) & read.ready),
            writes=write.valid == (dut.enable & (phase == ROWS) & store),
            entries=~(read.valid & (phase == ENTRY))
            | ((read.payload.address == at) & (read.payload.count == entry_beats(config) - 1)),
            loads=~(read.valid & (phase == ROWS)) | ((read.payload.address == row) & (read.payload.count == beats)),
            stores=~write.valid | ((write.payload.address == row) & (write.payload.count == beats)),
            portion=~portion.valid
            | ((portion.payload.kind == Mux(load, kind, Section.END)) & (~load | (portion.payload.place == place))),
            store=dut.store == (asked & (phase == ENTRY) & store),
            stored=dut.stored == ((phase == ANSWERS) & ~dut.storing),
            illegal=dut.illegal == (looks & ~ends & ~legal),
            waiting=dut.waiting == (looks & ~ends & legal & (dut.drained < entry.after)),
            walking=dut.walking == (phase != IDLE),
            ended=dut.ended == ended,
        )

    def _choice(self, entry: Value) -> tuple[Value, Value, Value]:
        """Whether the entry ends the list, is one, and may begin."""
        kinds = section_kinds(self.config)
        legal = Cat(entry.kind == kind for kind in kinds).any() & (~entry.store | (entry.kind == Section.FEATURE))
        may = (self.dut.drained >= entry.after) & (self.dut.quiet | ~entry.store)
        return entry.kind == Section.END, legal, may

    def _beats(self, entry: Value) -> Value:
        """Beats of a row."""
        total = Value.cast(0)
        for kind in section_kinds(self.config):
            total = total | Mux(entry.kind == kind, (entry.length + 1) * bus_beats(self.config, kind), 0)
        return total


PROPERTIES: tuple[type[Checker], ...] = (ListFollowed,)
