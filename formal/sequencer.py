"""The sequencer returns to idle after any program; it loads a tile's lines once, in order, ahead of its pass."""

from typing import Any, ClassVar

from amaranth import Array, Cat, Module, Mux, Signal, Value

from twofold.formal.checker import Checker
from twofold.formal.faults import Fault
from twofold.golden.config import bits_for
from twofold.golden.isa import OPCODE_BITS, Opcode, Pass, Section, line_bits
from twofold.hdl.layouts import record_layout

#: The sequencer's states, by Amaranth's numbers.
IDLE, RUN, SEND = range(3)


class Program(Checker):
    """What the properties of the sequencer share: its registers, how they go together, what its neighbours keep to."""

    component = "sequencer"
    short = ("log_4x4",)

    def program(self, m: Module) -> None:
        """Peeks at the registers, assumes, requires."""
        config, dut = self.config, self.dut
        self.layout = record_layout(Pass.record(config))
        self.state = self.peek("fsm_state", 2)
        self.line = self.peek("line", line_bits(config, Section.PROGRAM))
        self.opcode = self.line[:OPCODE_BITS]
        self.operands = self._pass(self.line)
        self.gap = self.peek("gap", bits_for(config.min_pass))
        for name in ("held", "stands", "seen", "over", "ended", "pending", "loaded"):
            setattr(self, name, self.peek(name))
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
        # While a program runs its memory changes no line: asked for one again, it gives the same.
        address, line = dut.program.address, Value.cast(dut.program.line)
        asked = self.past(m, address, "asked")
        again = self.past(m, (address == asked) & dut.inference.busy, "again") & self.running
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
        goes_on = Cat(self.opcode == code for code in (Opcode.WINDOW, Opcode.PASS, Opcode.DRAIN, Opcode.OUTPUT)).any()
        busy = self.state != IDLE
        held_next = self.loads & ~self.loaded
        self.require(
            states=self.state <= SEND,
            busy_states=self.dut.inference.busy == busy,
            gaps=self.gap < self.config.min_pass,
            nothing=busy | ~(self.held | self.stands | self.pending | self.loaded),
            seen=~self.seen | (self.stands & self.held),
            last=~self.held | (self.ended == ~goes_on),
            ended=~(busy & self.ended) | (self.held & ~self.stands),
            below=self.over | self.ended | ~busy | (address < depth),
            held_tile=~held_next | (self.pending & ~self.seen),
            next_tile=~(self.loads & self.loaded) | (self.pending == self.ahead_loads),
            first_tile=self.loads | ((self.pending | self.loaded) == self.ahead_loads),
            one_tile=~(self.pending & self.loaded) | (self.loads & (self.group == 0)),
            groups=~self.pending | (self.groups == Mux(held_next, self.operands.groups, self.ahead.groups)),
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
        Fault("sequencer", "at.over.eq(self.program.address ==", "at.over.eq(0 & self.program.address ==", "onwards"),
        Fault("sequencer", "at.ended.eq(~Cat", "at.ended.eq(0 & Cat", "nothing"),
        Fault("sequencer", "last.eq(at.reading & ", "last.eq(0 & ", "less"),
        Fault("sequencer", "[self.inference.complete.eq(1)", "[self.inference.failed.eq(1)", "fails"),
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
        legal = Cat(self.opcode == code for code in Opcode if code is not Opcode.ILLEGAL).any()
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


PROPERTIES: tuple[type[Checker], ...] = (SequencerEnds, TileLoad)
