"""The sequencer returns to idle after any program; it loads a tile's columns once, in order, or keeps the tile."""

from typing import Any, ClassVar

from amaranth import Cat, Module, Mux, Signal

from twofold.formal.checker import Checker
from twofold.formal.faults import Fault
from twofold.golden.config import bits_for
from twofold.golden.isa import OPCODE_BITS, Opcode, Pass, Section, line_bits
from twofold.hdl.layouts import record_layout

#: The sequencer's states, by Amaranth's numbers.
IDLE, FETCH, DECODE, OFFER, SETTLE, SEND, OVERRUN = range(7)


class _Program(Checker):
    component = "sequencer"
    short = ("log_4x4",)

    def program(self, m: Module) -> None:
        """What the sequencer says of itself, and what its neighbours keep to."""
        config, dut = self.config, self.dut
        self.state = self.peek("fsm_state", 3)
        self.line = self.peek("line", line_bits(config, Section.PROGRAM))
        self.opcode = self.line[:OPCODE_BITS]
        self.gap = self.peek("gap", bits_for(config.min_pass))
        self.settle = self.peek("settle", bits_for(config.load_latency))
        self.loaded = self.peek("loaded")
        self.column = self.peek("column", bits_for(config.cols))
        layout = record_layout(Pass.record(config))
        self.operands = layout(self.line[OPCODE_BITS : OPCODE_BITS + layout.size])
        self.loading = (self.state == OFFER) & (self.opcode == Opcode.PASS) & ~self.loaded & ~self.operands.kept
        self.depth = config.program_depth
        # A unit that is ready stays ready until it is given work.
        for name, ready, given in (
            ("drain", dut.drain.idle, dut.drain.start),
            ("start", dut.start.ready, dut.start.valid),
            ("send", dut.send.ready, dut.send.valid),
        ):
            stays = self.past(m, ready & ~given, f"{name}_ready") & self.running
            self.assume(~stays | ready)
        self.require(
            states=self.state <= OVERRUN,
            busy=dut.inference.busy == (self.state != IDLE),
            gaps=self.gap < config.min_pass,
            settles=~(self.state == SETTLE)
            | ((self.settle < config.load_latency) & (self.opcode == Opcode.PASS) & self.loaded & ~self.operands.kept),
            keeps=~((self.state == OFFER) & (self.opcode == Opcode.PASS) & self.operands.kept) | ~self.loaded,
            sends=~(self.state == SEND) | (self.opcode == Opcode.OUTPUT),
            columns=~self.loading | (self.column <= self.operands.columns),
        )


class SequencerEnds(_Program):
    """Whatever the program memory holds, the machine is idle again once it has been started.

    Between two instructions lie at most a constant number of cycles in which the units are ready, and what is left
    gets less in each of them, whenever they come; an instruction's line is the one after the last, never the first
    again; behind the last line is the error. END completes; an illegal opcode and a program without END fail.
    """

    name = "sequencer always returns to idle"
    fault_depth = 18
    fault_build: ClassVar[dict[str, Any]] = {"program_depth": 4}
    faults = (
        Fault("sequencer", 'm.next = "OVERRUN"', "pass", "onwards"),
        Fault("sequencer", "settle.eq(at.settle - 1)", "settle.eq(at.settle)", "less"),
        Fault("sequencer", "with m.If(at.column == at.taken.columns):", "with m.If(0):", "columns"),
        Fault(
            "sequencer", "m.d.comb += self.inference.complete.eq(1)", "m.d.comb += self.inference.failed.eq(1)", "fails"
        ),
        Fault("sequencer", "self.program.address.eq(0), inference.cycles.eq(0)", "inference.cycles.eq(0)", "begins"),
    )

    def specify(self, m: Module) -> None:
        self.program(m)
        config, dut, state = self.config, self.dut, self.state
        waits = config.min_pass + 2
        left = Signal(16)
        with m.Switch(state):
            with m.Case(FETCH):
                m.d.comb += left.eq(waits + config.load_latency + config.cols + 3)
            with m.Case(DECODE):
                m.d.comb += left.eq(waits + config.load_latency + config.cols + 2)
            with m.Case(SETTLE):
                m.d.comb += left.eq(waits + self.settle + 1)
            with m.Case(SEND):
                m.d.comb += left.eq(1)
            with m.Default():
                m.d.comb += left.eq(self.gap + 2)
                with m.If(self.loading):
                    m.d.comb += left.eq(waits + config.load_latency + config.cols - self.column)
        ready = dut.start.ready & dut.drain.idle & dut.send.ready & dut.sent
        address = dut.program.address
        before = self.past(m, address, "program_address")
        was = self.past(m, state, "state")
        was_left = self.past(m, left, "left")
        was_ready = self.past(m, ready, "ready")
        goes_on = self.running & (was != IDLE) & (state != IDLE) & (state != OVERRUN)
        moved = (state == FETCH) & (was != FETCH)
        overrun = self.running & (state == OVERRUN) & (was != OVERRUN)
        stopped = self.past(m, dut.inference.complete | dut.inference.failed, "stopped")
        ending = dut.inference.complete | dut.inference.failed
        legal = Cat(self.opcode == code for code in Opcode if code is not Opcode.ILLEGAL).any()
        self.require(
            less=~(goes_on & ~moved) | (left < was_left) | (~was_ready & (left <= was_left)),
            overrun_less=~(self.running & (was == OVERRUN) & (state == OVERRUN)) | ~was_ready | (left < was_left),
            onwards=~goes_on
            | (moved & (before != self.depth - 1) & (address == before + 1))
            | (~moved & (address == before)),
            only_back=~goes_on | ~moved | (was == OFFER) | (was == SEND),
            overrun=~overrun | (before == self.depth - 1),
            no_way_back=~(self.running & (was == OVERRUN)) | (state == OVERRUN) | (state == IDLE),
            begins=~(self.running & (was == IDLE) & (state != IDLE)) | ((state == FETCH) & (address == 0)),
            ends=~(self.running & (was != IDLE)) | ((state == IDLE) == stopped),
            completes=~dut.inference.complete | ((state == OFFER) & (self.opcode == Opcode.END)),
            fails=~dut.inference.failed | (state == OVERRUN) | ((state == OFFER) & ~legal),
            one=~(dut.inference.complete & dut.inference.failed),
            idle=~ending | dut.inference.busy,
        )


class TileLoad(_Program):
    """A pass starts when each of its columns was loaded once, in order, each from the line two cycles before.

    A pass that keeps the tile starts when no column was loaded since the pass before. No column of the next tile comes
    before the tile has become the active one, two cycles after the start.
    """

    name = "tile load: nothing lost, doubled or reordered; a kept tile: nothing loaded"
    fault_depth = 14
    faults = (
        Fault(
            "sequencer",
            "self.weight_address.eq(at.taken.weights + at.column)",
            "self.weight_address.eq(at.taken.weights)",
            "line",
        ),
        Fault(
            "sequencer", "m.d.sync += at.column.eq(at.column + 1)", "m.d.sync += at.column.eq(at.column + 2)", "order"
        ),
        Fault("sequencer", "settle.eq(config.load_latency - 1)", "settle.eq(0)", "all"),
        Fault("sequencer", "with m.If(~at.loaded & ~at.taken.kept):", "with m.If(~at.loaded):", "kept"),
    )

    def specify(self, m: Module) -> None:
        self.program(m)
        config, dut = self.config, self.dut
        count = Signal(bits_for(config.cols + 1))
        since = Signal(3, init=7)
        with m.If(dut.load != 0):
            m.d.sync += count.eq(count + 1)
        started = dut.start.valid & dut.start.ready
        m.d.sync += since.eq(Mux(since == 7, 7, since + 1))
        with m.If(started):
            m.d.sync += [count.eq(0), since.eq(1)]
        address = self.past(m, dut.weight_address, "address1")
        address2 = self.past(m, address, "address2")
        first = self.peek("column_bit0", config.cols)
        weights = self.operands.weights
        size = (1 << len(dut.weight_address)) - 1
        wanted = Mux(self.operands.kept, 0, self.operands.columns + 1)
        coming = count + (dut.load != 0) + (first != 0)
        current = (self.state == OFFER) & (self.opcode == Opcode.PASS) | (self.state == SETTLE)
        self.require(
            pending=~self.loading | (self.column == coming),
            done=~(current & self.loaded) | (coming == wanted),
            nothing=~(current & self.operands.kept) | (coming == 0),
            none=current | (self.state == IDLE) | ((count == 0) & (first == 0) & (dut.load == 0)),
            idle=~(self.state == IDLE) | ((count == 0) & (first == 0) & (dut.load == 0)),
            settled=~((self.state == SETTLE) & (self.settle == 0)) | (first == 0),
            offered=~((self.state == OFFER) & self.loaded & current) | ((first == 0) & (dut.load == 0)),
            next_line=(first == 0) | (current & (address == ((weights + count + (dut.load != 0)) & size))),
            next_order=(first == 0) | (first == 1 << (count + (dut.load != 0))),
            line=(dut.load == 0) | (current & (address2 == ((weights + count) & size))),
            order=(dut.load == 0) | (dut.load == 1 << count),
            all=~dut.start.valid | ((count == wanted) & (dut.load == 0)),
            kept=~(dut.start.valid & dut.start.payload["pass"].kept) | ((count == 0) & (coming == 0)),
            later=(dut.load == 0) | (since > 2),
            full=~self.loading | (self.settle == config.load_latency - 1),
            early=(since > 2)
            | ((since == 2) & ((self.state <= DECODE) | (self.state == OVERRUN)) & (self.state != FETCH))
            | ((since == 1) & ((self.state == FETCH) | (self.state == OVERRUN))),
            first=(first == 0) | (since > 3),
        )


PROPERTIES: tuple[type[Checker], ...] = (SequencerEnds, TileLoad)
