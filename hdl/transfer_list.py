"""The transfer list: asks for its entries, and hands each transfer to those who move its lines."""

from functools import reduce
from operator import add

from amaranth import Cat, Const, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from twofold.golden.config import ArrayConfig, bits_for
from twofold.golden.isa import TRANSFER_COUNT_BITS, Section, section_kinds
from twofold.golden.transfers import ADDRESS_BITS, BURST_BYTES, Transfer, bus_beats, entry_beats
from twofold.hdl.axi import commands, page_bits
from twofold.hdl.layouts import record_layout
from twofold.hdl.line_filler import portion
from twofold.hdl.line_walk import rectangle

#: Bits of an address within a page of `BURST_BYTES`, and of the page where the list begins.
PAGE_BITS = bits_for(BURST_BYTES)
BASE_BITS = ADDRESS_BITS - PAGE_BITS


class TransferList(wiring.Component):
    """Works through a list of transfers. An entry is asked for before the lines of the one before it.

    The first entry is asked for in the cycle after the start. A transfer begins when its entry is known, as many drains
    are done as it waits for and the answers to a STORE before it are there; a STORE, when all before it is done.

    Parameters
    ----------
    config
        The build.

    Members
    -------
    start : In(1), base : In(BASE_BITS)
        Begin with the list on this page; only while not `walking`. The page stays.
    enable : In(1)
        Begin anything.
    abort : In(1)
        Give up; only while nothing is under way.
    entry : In(layout of `Transfer`), known : In(1)
        The next entry, from the cycle with `known` on.
    drained : In
        Drains that are done.
    quiet : In(1)
        All lines that were asked for are written.
    read, write : Out(`axi.commands`)
        Rows of lines, and entries.
    portion : Out(stream of `line_filler.portion`)
        What the beats that are read will be.
    store : Out(1), place : Out(`rectangle`)
        Lines to be written to the bus.
    storing : In(1)
        Some of them are not written and answered.
    stored : Out(1)
        All of a STORE are, in this cycle.
    illegal : Out(1)
        The entry is none.
    waiting : Out(1)
        A transfer waits for a drain and for nothing else.
    walking, ended : Out(1)
        The list is under way, or at its end.
    """

    def __init__(self, config: ArrayConfig):
        self.config = config
        super().__init__(
            {
                "start": In(1),
                "base": In(BASE_BITS),
                "enable": In(1),
                "abort": In(1),
                "entry": In(record_layout(Transfer.record(config))),
                "known": In(1),
                "drained": In(TRANSFER_COUNT_BITS),
                "quiet": In(1),
                "read": Out(commands(config)),
                "write": Out(commands(config)),
                "portion": Out(stream.Signature(portion(config))),
                "store": Out(1),
                "place": Out(rectangle(config)),
                "storing": In(1),
                "stored": Out(1),
                "illegal": Out(1),
                "waiting": Out(1),
                "walking": Out(1),
                "ended": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        at = _Place(self)
        m.d.comb += [
            self.place.eq(at.place),
            self.portion.payload.place.eq(at.place),
            self.portion.payload.kind.eq(Mux(at.load, at.kind, Section.END)),
            self.write.payload.address.eq(at.address),
            self.write.payload.count.eq(at.count),
        ]
        with m.If(self.known):
            m.d.sync += at.known.eq(1)
        with m.If(self.abort):
            m.d.sync += self.ended.eq(0)
        m.d.comb += self.walking.eq(1)
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.walking.eq(0)
                with m.If(self.start):
                    page = Cat(Const(0, page_bits(self.config)), self.base)
                    m.d.sync += [at.next.eq(page), at.load.eq(0), at.store.eq(0), at.known.eq(0), self.ended.eq(0)]
                    m.next = "ENTRY"
            with m.State("ENTRY"):
                self._ask(m, at)
                self._give_up(m)
            with m.State("ROWS"):
                self._rows(m, at)
                self._give_up(m)
            with m.State("ANSWERS"):
                with m.If(~self.storing):
                    m.d.comb += self.stored.eq(1)
                    m.next = "TAKE"
                self._give_up(m)
            with m.State("TAKE"):
                with m.If(at.known & self.enable):
                    self._take(m, at)
                self._give_up(m)
        return m

    def _give_up(self, m: Module) -> None:
        with m.If(self.abort):
            m.next = "IDLE"

    def _ask(self, m: Module, at: "_Place") -> None:
        """For the next entry; the lines of a LOAD follow it, and those of a STORE begin."""
        m.d.comb += [
            self.read.payload.address.eq(at.next),
            self.read.payload.count.eq(entry_beats(self.config) - 1),
            self.read.valid.eq(self.enable & self.portion.ready),
            self.portion.valid.eq(self.enable & self.read.ready),
        ]
        with m.If(self.read.valid & self.read.ready):
            m.d.comb += self.store.eq(at.store)
            m.d.sync += at.next.eq(at.next + entry_beats(self.config))
            m.next = "TAKE"
            with m.If(at.load | at.store):
                m.next = "ROWS"

    def _rows(self, m: Module, at: "_Place") -> None:
        """The rows of a transfer, whose lines follow each other outside."""
        m.d.comb += [
            self.read.payload.address.eq(at.address),
            self.read.payload.count.eq(at.count),
            self.read.valid.eq(self.enable & at.load),
            self.write.valid.eq(self.enable & at.store),
        ]
        with m.If((self.read.valid & self.read.ready) | (self.write.valid & self.write.ready)):
            m.d.sync += [at.address.eq(at.address + at.step), at.rows.eq(at.rows - 1)]
            with m.If(at.rows == 0):
                m.next = "TAKE"
                with m.If(at.store):
                    m.next = "ANSWERS"

    def _take(self, m: Module, at: "_Place") -> None:
        """The entry that is known, if it can begin."""
        entry = self.entry
        store = entry.store & (entry.kind == Section.FEATURE)
        legal = Cat(entry.kind == kind for kind in section_kinds(self.config)).any() & (~entry.store | store)
        with m.If(entry.kind == Section.END):
            m.d.sync += self.ended.eq(1)
            m.next = "IDLE"
        with m.Elif(~legal):
            m.d.comb += self.illegal.eq(1)
        with m.Elif(entry.after > self.drained):
            m.d.comb += self.waiting.eq(1)
        with m.Elif(~store | self.quiet):
            m.d.sync += [
                at.known.eq(0),
                at.load.eq(~store),
                at.store.eq(store),
                at.kind.eq(entry.kind),
                at.address.eq(Cat(Const(0, page_bits(self.config)), self.base) + entry.memory),
                at.step.eq(entry.memory_step),
                at.rows.eq(entry.rows),
                at.count.eq(self._row_beats(m)),
            ]
            m.d.sync += [at.place[name].eq(entry[name]) for name in rectangle(self.config).members]
            m.next = "ENTRY"

    def _row_beats(self, m: Module) -> Signal:
        """Beats of a row, minus one."""
        count = Signal.like(self.read.payload.count)
        with m.Switch(self.entry.kind):
            for kind in section_kinds(self.config):
                beats = bus_beats(self.config, kind)
                parts = (self.entry.length << bit for bit in range(beats.bit_length()) if beats >> bit & 1)
                with m.Case(kind):
                    m.d.comb += count.eq(reduce(add, parts) + (beats - 1))
        return count


class _Place:
    """The transfer that is under way.

    Attributes
    ----------
    next
        Address of the entry to be asked for next.
    known
        The entry asked for last is there, and not taken.
    load, store, kind, place
        What the transfer is, if it is one, and its lines in the chip's memory.
    address, step, rows, count
        The next row outside; beats to the one after it, rows behind it, beats of it minus one.
    """

    def __init__(self, walker: TransferList) -> None:
        entry, read = walker.entry, walker.read.payload
        self.next = Signal.like(read.address)
        self.known = Signal(name="entry_known")
        self.load = Signal()
        self.store = Signal(name="is_store")
        self.kind = Signal.like(entry.kind)
        self.place = Signal(rectangle(walker.config), name="rows_of_lines")
        self.address = Signal.like(read.address)
        self.step = Signal.like(read.address)
        self.rows = Signal.like(entry.rows)
        self.count = Signal.like(read.count)
