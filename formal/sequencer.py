"""The sequencer returns to idle after any program; it loads a tile's lines once, in order, ahead of its pass."""

from typing import Any, ClassVar

from amaranth import Array, Cat, Const, Module, Mux, Signal, Value

from twofold.formal.checker import Checker
from twofold.formal.faults import Fault
from twofold.golden.config import bits_for
from twofold.golden.isa import OPCODE_BITS, Opcode, Pass, Section, Sync, instructions, line_bits
from twofold.hdl.layouts import record_layout
from twofold.hdl.sequencer import GOES_ON

#: The sequencer's states, by Amaranth's numbers, and those of builds with a memory outside.
IDLE, RUN, SEND = range(3)
OUTSIDE_BEGIN, OUTSIDE_RUN, OUTSIDE_STOP, OUTSIDE_SEND = range(1, 5)


class Program(Checker):
    """What the properties of the sequencer share: its registers, how they go together, what its neighbours keep to."""

    component = "sequencer"
    short: tuple[str, ...] = ("log_4x4",)

    def program(self, m: Module) -> None:
        """Peeks at the registers, assumes, requires."""
        config, dut = self.config, self.dut
        self.layout = record_layout(Pass.record(config))
        external = config.external
        self.state = self.peek("fsm_state", 3 if external else 2)
        #: The program's lines are looked at.
        self.runs = Value.cast(
            (self.state == OUTSIDE_RUN) | (self.state == OUTSIDE_SEND) if external else self.state != IDLE
        )
        self.line = self.peek("line", line_bits(config, Section.PROGRAM))
        self.opcode = self.line[:OPCODE_BITS]
        self.operands = self._pass(self.line)
        self.gap = self.peek("gap", bits_for(config.min_pass))
        for name in ("held", "stands", "seen", "over", "ended", "pending", "loaded"):
            setattr(self, name, self.peek(name))
        self.reached = self.peek("reached") if external else Const(0)
        #: A SYNC waits, and what stands behind it may be old.
        self.waiting = self.runs & self.held & (self.opcode == Opcode.SYNC) & ~self.reached & external
        self.group = self.peek("group", len(self.operands.groups))
        self.groups = self.peek("groups", len(self.operands.groups))
        self.loads = self.held & (self.opcode == Opcode.PASS) & ~self.operands.kept
        #: The line that stands: its opcode, and whether it was looked at and has a tile.
        self.next_opcode = dut.program.line[:OPCODE_BITS] & ~self.over.replicate(OPCODE_BITS)
        self.ahead = self._pass(dut.program.line)
        self.ahead_loads = self.stands & self.seen & (self.next_opcode == Opcode.PASS) & ~self.ahead.kept
        self._neighbours(m)
        self._registers()

    def _pass(self, line: Value) -> Any:
        return self.layout(line[OPCODE_BITS : OPCODE_BITS + self.layout.size])

    def _neighbours(self, m: Module) -> None:
        dut = self.dut
        # While a program runs its memory changes no line: asked for one again, it gives the same. Behind a SYNC that
        # waits it may.
        address, line = dut.program.address, Value.cast(dut.program.line)
        asked = self.past(m, address, "asked")
        again = self.past(m, (address == asked) & self.runs, "again") & self.running
        if self.config.external:
            again = again & ~self.past(m, self.waiting, "waiting")
        self.assume(~again | (line == self.past(m, line, "program_line")))
        self.require(asks=~(self.running & self.stands) | (address == asked), starts=self.running | ~self.stands)
        # A unit that is ready stays ready until it is given work.
        for name, ready, given in (
            ("drain", dut.drain.idle, dut.drain.start),
            ("start", dut.start.ready, dut.start.valid),
            ("send", dut.send.ready, dut.send.valid),
        ):
            stays = self.past(m, ready & ~given, f"{name}_ready") & self.running
            self.assume(~stays | ready)

    def _registers(self) -> None:
        """Tiles are read in the order of their passes: that of the held line, then that of the line that stands."""
        depth, address = self.config.program_depth, self.dut.program.address
        codes = (*GOES_ON, Opcode.SYNC) if self.config.external else GOES_ON
        goes_on = Cat(self.opcode == code for code in codes).any()
        busy = self.state != IDLE
        held_next = self.loads & ~self.loaded
        self.require(
            states=self.state <= (OUTSIDE_SEND if self.config.external else SEND),
            busy_states=self.dut.inference.busy == busy,
            gaps=self.gap < self.config.min_pass,
            nothing=(self.state != OUTSIDE_BEGIN if self.config.external else busy)
            | ~(self.held | self.stands | self.pending | self.loaded),
            reached=~(self.reached & busy)
            | (self.held & (self.opcode == Opcode.SYNC) & ((self.state == OUTSIDE_RUN) | (self.state == OUTSIDE_STOP))),
            seen=~self.seen | (self.stands & self.held & ~self.waiting),
            last=~self.held | (self.ended == ~goes_on),
            ended=~(busy & self.ended) | (self.held & ~self.stands),
            below=self.over | self.ended | ~busy | (address < depth),
            ring=~(self.over & busy) if self.config.external else Const(1),
            held_tile=~(held_next & self.runs) | (self.pending & ~self.seen),
            next_tile=~(self.loads & self.loaded & self.runs) | (self.pending == self.ahead_loads),
            first_tile=self.loads | ~self.runs | ((self.pending | self.loaded) == self.ahead_loads),
            one_tile=~(self.pending & self.loaded) | (self.loads & (self.group == 0)),
            groups=~(self.pending & self.runs)
            | (self.groups == Mux(held_next, self.operands.groups, self.ahead.groups)),
            group=~self.pending | (self.group <= self.groups),
        )


class SequencerEnds(Program):
    """Whatever the program memory holds, the machine is idle again once it has been started.

    Between two instructions lie at most a constant number of cycles in which the units are ready, and what is left
    gets less in each of them, whenever they come; an instruction's line is the one after the last, never the first
    again; behind the last line is an illegal one. END completes; an illegal opcode and a program without END fail.
    """

    name = "sequencer always returns to idle"
    fault_depth = 18
    fault_build: ClassVar[dict[str, Any]] = {"program_depth": 4}
    faults = (
        Fault("sequencer", "else self.program.address ==", "else 0 & self.program.address ==", "onwards"),
        Fault("sequencer", "at.ended.eq(~Cat", "at.ended.eq(0 & Cat", "nothing"),
        Fault("sequencer", "last.eq(at.reading & ", "last.eq(0 & ", "less"),
        Fault(
            "sequencer",
            "with m.If(done):\n                        m.d.comb += [self.inference.complete",
            "with m.If(done):\n                        m.d.comb += [self.inference.failed",
            "fails",
        ),
        Fault("sequencer", "[self.program.address.eq(0), ", "[", "begins"),
    )

    def specify(self, m: Module) -> None:
        self.program(m)
        config, dut, state = self.config, self.dut, self.state
        left = Signal(16)
        m.d.comb += left.eq(
            self.held * (config.min_pass + 2)
            + Mux(self.loads & ~self.loaded, self.groups - self.group + 1, 0)
            + self.gap
            + (state == SEND)
            + ~(self.stands | self.ended)
        )
        ready = dut.start.ready & dut.drain.idle & dut.send.ready & dut.sent
        address = dut.program.address
        before = self.past(m, address, "address")
        was, was_left, was_ready, was_over, was_ended = (
            self.past(m, value, name)
            for name, value in (
                ("state", state),
                ("left", left),
                ("ready", ready),
                ("over", self.over),
                ("ended", self.ended),
            )
        )
        goes_on = self.running & (was != IDLE) & (state != IDLE)
        moved = address != before
        bits = len(address)
        stopped = self.past(m, dut.inference.complete | dut.inference.failed, "stopped")
        legal = Cat(self.opcode == code for code in instructions(self.config)).any()
        self.require(
            less=~goes_on | moved | (left < was_left) | (~was_ready & (left <= was_left)),
            onwards=~(goes_on & moved)
            | (
                (address == (before + 1)[:bits])
                & ~was_ended
                & Mux(was_over, self.ended, self.ended | (self.over == (before == config.program_depth - 1)))
            ),
            begins=~(self.running & (was == IDLE) & (state != IDLE))
            | ((state == RUN) & (address == 0) & ~(self.held | self.stands | self.over | self.ended)),
            ends=~(self.running & (was != IDLE)) | ((state == IDLE) == stopped),
            completes=~dut.inference.complete | (self.held & (self.opcode == Opcode.END)),
            fails=~dut.inference.failed | (self.held & ~legal),
            one=~(dut.inference.complete & dut.inference.failed),
            idle=~(dut.inference.complete | dut.inference.failed) | dut.inference.busy,
        )


class TileLoad(Program):
    """Two cycles after a pass that loads began, when its tile becomes the active one, that tile stands.

    Each of its groups of columns was loaded once, in order, from its line, which was read two cycles before, and with
    its point set; nothing else was loaded since the tile before became active.
    """

    name = "tile load: nothing lost, doubled, reordered or too early"
    fault_depth = 14
    faults = (
        Fault("sequencer", "self.weight_address + 1", "self.weight_address", "line"),
        Fault("sequencer", "at.group.eq(at.group + 1)", "at.group.eq(at.group + 2)", "order"),
        Fault("sequencer", "room.eq(~at.loaded | taken)", "room.eq(1)", "all"),
        Fault("sequencer", "(at.loaded | at.taken.kept) & at.free", "at.free", "all"),
        Fault("sequencer", "m.d.sync += self.set.eq(at.tile_set)", "m.d.comb += self.set.eq(at.tile_set)", "set"),
        Fault("sequencer", "(at.opcode == Opcode.PASS) & ~ahead.kept", "at.opcode == Opcode.PASS", "first_line"),
    )

    def specify(self, m: Module) -> None:
        self.program(m)
        dut, size = self.dut, len(self.dut.weight_address)
        #: Groups loaded for the next tile; the line and set of the first; cycles since a pass that loads began.
        count = Signal(bits_for(self.config.load_groups + 1))
        base, base_set = Signal(size), Signal.like(dut.set)
        since = Signal(2, init=3)
        #: The tile of that pass.
        begun = Signal(self.layout, name="begun")
        address = self.past(m, dut.weight_address, "address1")
        address2 = self.past(m, address, "address2")
        used_set = self.past(m, dut.set, "set1")
        swap = since == 2
        number = Mux(swap, 0, count)
        loading = dut.load != 0
        m.d.sync += [count.eq(number + loading), since.eq(Mux(since == 3, 3, since + 1))]
        with m.If(loading & (number == 0)):
            m.d.sync += [base.eq(address2), base_set.eq(used_set)]
        with m.If(dut.start.valid & ~dut.start.payload["pass"].kept):
            m.d.sync += [since.eq(1), begun.eq(dut.start.payload["pass"])]

        first = self.peek("group_bit0", self.config.load_groups)
        chosen = self.peek("tile_set", len(dut.set))
        coming = first != 0
        #: Groups read of the tile that loads or has loaded and whose pass has not begun, and that tile.
        fresh = Array((coming, coming, coming + loading, count + coming + loading))[since]
        tile = self.layout(Mux(self.loads, self.operands.as_value(), self.ahead.as_value()))
        reading = Mux(self.loads & self.loaded, self.ahead.as_value(), tile.as_value())
        place = (self.layout(reading).weights + self.group)[:size]
        read = Mux(self.loaded, tile.groups + 1, Mux(self.pending, self.group, 0))
        behind = fresh - 1 - coming
        right = self._in_turn(dut.load, address2, used_set, begun, begun.groups)
        fresh_right = self._in_turn(dut.load, address2, used_set, tile, behind)
        self.require(
            count=since != 0,
            apart=(since == 3) | (self.gap == self.config.min_pass - since),
            place=~self.pending | ((dut.weight_address == place) & (chosen == self.layout(reading).set)),
            read=fresh == read,
            coming=~coming | self._in_turn(first, address, dut.set, tile, fresh - 1),
            loading=~loading | Mux(since == 1, right, fresh_right),
            counted=(since == 3) | (count + Mux(since == 1, loading, 0) == begun.groups + 1),
            based=(count == 0)
            | Mux(
                since == 3,
                (base == tile.weights) & (base_set == tile.set),
                (base == begun.weights) & (base_set == begun.set),
            ),
        )
        self.require(
            order=~loading | (dut.load == (1 << number[: bits_for(self.config.load_groups)])[: len(dut.load)]),
            line=~loading | (number == 0) | (address2 == (base + number)[:size]),
            set=~loading | (number == 0) | (used_set == base_set),
            all=~swap | (count == begun.groups + 1),
            first_line=~swap | (base == begun.weights),
            first_set=~swap | (base_set == begun.set),
        )

    def _in_turn(self, bits: Value, address: Value, used: Value, tile: Any, number: Value) -> Value:
        """Whether a group's bit, line and set are those of that number in the tile."""
        place = (tile.weights + number)[: len(address)]
        bit = (1 << number[: bits_for(self.config.load_groups)])[: len(bits)]
        return (bits == bit) & (address == place) & (used == tile.set)


class OutsideProgress(Program):
    """With a memory outside: whatever program memory holds, there is always an instruction that is accepted next.

    Once all transfers are done or fail, each is accepted, the program ends or the inference fails; the line after an
    instruction's is the next one, the first after the last. END completes when the list is done; what is illegal, a
    transfer that fails and waiting for what never comes fail, when the units and the list are idle. Nothing that an
    inference leaves behind is in the next one.
    """

    name = "sequencer with a memory outside: every instruction is accepted or the inference fails"
    builds = "outside"
    short = ()
    fault_depth = 18
    fault_build: ClassVar[dict[str, Any]] = {"program_depth": 4}
    faults = (
        Fault("sequencer", "with m.Elif(done & at.short):", "with m.Elif(0):", "less"),
        Fault("sequencer", "with m.Elif(to.finished | to.stuck):", "with m.Elif(0):", "less"),
        Fault("sequencer", "with m.If(to.idle & at.free & self.drain.idle):", "with m.If(at.free):", "quiet"),
        Fault("sequencer", "with m.If(done & self.transferring.finished):", "with m.If(done):", "completes"),
        Fault("sequencer", "at.held, at.stands, at.seen", "at.stands, at.seen", "begins"),
        Fault("sequencer", "at.reached.eq(at.waiting & enough)", "at.reached.eq(at.waiting)", "met"),
    )

    def specify(self, m: Module) -> None:
        self.program(m)
        dut, to = self.dut, self.dut.transferring
        was, fault = self.past(m, self.state, "state"), self.past(m, to.fault, "fault")
        finished, done = self.past(m, to.finished & ~to.start, "finished"), self.past(m, to.done, "done")
        self.assume(~(self.running & finished) | (to.finished & (to.done == done)))
        sync = self.held & (self.opcode == Opcode.SYNC)
        left = Signal(16)
        m.d.comb += left.eq(
            Mux(
                self.state == OUTSIDE_BEGIN,
                1 << 15,
                self.gap
                + Mux(
                    self.state == OUTSIDE_STOP,
                    0,
                    1
                    + self.held * (self.config.min_pass + 3)
                    + Mux(self.loads & ~self.loaded, self.groups - self.group + 1, 0)
                    + (self.state == OUTSIDE_SEND)
                    + ~(self.stands | self.ended)
                    - (sync & self.reached),
                ),
            )
        )
        units = dut.start.ready & dut.drain.idle
        ready = self.past(m, units & dut.send.ready & dut.sent & to.finished & to.idle, "ready")
        address, was_left = dut.program.address, self.past(m, left, "left")
        before, was_ended = self.past(m, address, "address"), self.past(m, self.ended, "ended")
        goes_on = self.running & (was != IDLE) & (self.state != IDLE)
        moved = address != before
        over = dut.inference.complete | dut.inference.failed
        stopped = self.past(m, over, "stopped")
        never = to.finished | to.stuck
        need = record_layout(Sync.record(self.config))(self.line[OPCODE_BITS:][: Sync.record(self.config).width]).need
        legal = Cat(self.opcode == code for code in instructions(self.config)).any()
        wrong = Mux(
            self.state == OUTSIDE_BEGIN,
            never & (to.done == 0),
            self.held & (~legal | (sync & never & (to.done < need)) | ((self.opcode == Opcode.END) & to.stuck)),
        )
        why = self.past(m, to.fault | wrong, "why")
        waited = self.past(m, self.waiting, "waited")
        self.require(
            less=~goes_on | moved | (left < was_left) | (~ready & (left <= was_left)),
            onwards=~(goes_on & moved) | ((address == (before + 1)[: len(address)]) & ~was_ended),
            begins=~(self.running & (was == IDLE) & (self.state != IDLE))
            | ((self.state == OUTSIDE_BEGIN) & (address == 0) & ~(self.held | self.stands | self.over | self.ended)),
            ends=~(self.running & (was != IDLE)) | ((self.state == IDLE) == stopped),
            stops=~(self.running & (self.state == OUTSIDE_STOP) & (was != OUTSIDE_STOP)) | why,
            faults=~(self.running & fault & (was == OUTSIDE_RUN)) | (self.state == OUTSIDE_STOP),
            completes=~dut.inference.complete | (self.held & (self.opcode == Opcode.END) & to.finished & ~to.fault),
            fails=~dut.inference.failed | (self.state == OUTSIDE_STOP),
            quiet=~over | (to.idle & units) | dut.inference.complete,
            met=~(self.running & self.reached) | self.past(m, sync & (to.done >= need), "enough"),
            waits=~(self.running & waited) | (self.held & (self.line == self.past(m, self.line, "line"))),
            one=~(dut.inference.complete & dut.inference.failed),
            starts_list=to.start == (dut.inference.run & (self.state == IDLE)),
            stop=to.stop == (self.state == OUTSIDE_STOP),
        )


PROPERTIES: tuple[type[Checker], ...] = (SequencerEnds, TileLoad, OutsideProgress)
