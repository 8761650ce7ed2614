"""The sequencer keeps, cycle by cycle, to the table of instructions in docs/machine.md."""

from amaranth import Cat, Module, Mux, Signal, Value
from amaranth.lib import data

from twofold.formal.builds import SMALL
from twofold.formal.checker import Checker
from twofold.formal.faults import Fault
from twofold.formal.sequencer import IDLE, SEND, Program
from twofold.golden.config import bits_for
from twofold.golden.isa import OPCODE_BITS, Opcode, Section, Window, instructions, line_bits
from twofold.hdl.layouts import record_layout


class SequencerTiming(Program):
    """Which instruction is accepted when, with which operands and bank, for any program and any units.

    The reference counts cycles since the next instruction was fetched, lines left to read of this one's tile and the
    next one's, and cycles since a pass was accepted, and knows no states.
    """

    name = "sequencer: exact timing, operands, counters"
    fault_depth = 12
    fault_build = SMALL
    faults = (
        Fault("sequencer", "gap.eq(self.config.min_pass - 1)", "gap.eq(self.config.min_pass - 2)", "drain"),
        Fault("sequencer", "self.drain.idle | ~at.taken.wait", "1", "start"),
        Fault(
            "sequencer",
            "m.d.sync += inference.cycles.eq(inference.cycles + 1)",
            "m.d.sync += inference.cycles.eq((inference.cycles + 1)[:3])",
            "cycles",
        ),
        Fault("sequencer", "bank.eq(~at.bank)", "bank.eq(1)", "bank"),
        Fault(
            "sequencer",
            "inference.passes.eq(self.inference.passes + 1)",
            "inference.passes.eq(self.inference.passes)",
            "passes",
        ),
        Fault("sequencer", "(at.loaded | at.taken.kept) & at.free", "at.loaded & at.free", "start"),
        Fault("sequencer", "room.eq(~at.loaded | taken)", "room.eq(~at.loaded)", "start"),
        Fault("sequencer", "with m.If(at.running & ~at.ended):", "with m.If(at.held & ~at.ended):", "start"),
    )

    def specify(self, m: Module) -> None:
        self.program(m)
        config, dut = self.config, self.dut
        #: A program runs; an instruction is offered; an output is sent; the next line is past the memory.
        active, offered, sending, over = (Signal(name=name) for name in ("active", "offered", "sending", "past"))
        #: Cycles since the next instruction was fetched, and since a pass was accepted, as far as they matter.
        age = Signal(range(config.fetch_cycles + 1))
        since = Signal(range(config.min_pass + 1), init=config.min_pass)
        #: The instruction that is offered, the next one, and what is left to read of their tiles.
        line = Signal(line_bits(config, Section.PROGRAM), name="offered_line", reset_less=True)
        coming = Signal.like(line, name="next_line", reset_less=True)
        left = Signal(bits_for(config.load_groups + 1), name="lines_left")
        next_left = Signal.like(left, name="next_left")
        address = Signal.like(dut.program.address, name="next_address", reset_less=True)
        window = Signal(Window.record(config).width, name="given_window", reset_less=True)
        cycles, passes = Signal(32, reset_less=True), Signal(32, reset_less=True)
        bank, given = Signal(name="current_bank", reset_less=True), Signal(name="given")

        opcode = line[:OPCODE_BITS]
        operands = {kind: self._operands(line, kind) for kind in (Opcode.PASS, Opcode.DRAIN, Opcode.OUTPUT)}
        taken = operands[Opcode.PASS]
        counted = active & ~sending
        free = dut.start.ready & (since == config.min_pass)
        done = free & dut.drain.idle
        accepts = {
            Opcode.WINDOW: Value.cast(1),
            Opcode.PASS: (taken.kept | (left == 0)) & free & (dut.drain.idle | ~taken.wait),
            Opcode.DRAIN: done,
            Opcode.OUTPUT: done & dut.send.ready,
            Opcode.END: done,
        }
        accept = {kind: Signal(name=f"accept_{kind.name.lower()}") for kind in accepts}
        m.d.comb += [signal.eq(counted & offered & (opcode == kind) & accepts[kind]) for kind, signal in accept.items()]
        illegal, last = Signal(), Signal()
        m.d.comb += [
            illegal.eq(counted & offered & done & ((opcode < Opcode.WINDOW) | (opcode > Opcode.END))),
            last.eq(offered & ((opcode < Opcode.WINDOW) | (opcode > Opcode.OUTPUT))),
        ]
        given_up = Cat(accept[kind] for kind in accepts if kind is not Opcode.END).any()
        #: The next instruction and what will be left of its tile.
        known = age == config.fetch_cycles
        stood = Cat(dut.program.line[:OPCODE_BITS] & ~over.replicate(OPCODE_BITS), dut.program.line[OPCODE_BITS:])
        found, found_left = Signal.like(line, name="found"), Signal.like(left, name="found_left")
        m.d.comb += found.eq(Mux(known, coming, stood))
        found_pass = self._operands(found, Opcode.PASS)
        has_tile = (found[:OPCODE_BITS] == Opcode.PASS) & ~found_pass.kept
        loads = offered & (opcode == Opcode.PASS) & ~taken.kept
        reads = (next_left != 0) & (~loads | accept[Opcode.PASS])
        m.d.comb += found_left.eq(Mux(known, next_left - reads, Mux(has_tile, found_pass.groups + 1, 0)))
        take = counted & (age != 0) & (~offered | given_up)

        with m.If(since != config.min_pass):
            m.d.sync += since.eq(since + 1)
        with m.If(counted):
            m.d.sync += [cycles.eq(cycles + 1), left.eq(left - (left != 0))]
            with m.If(~known & ~last):
                m.d.sync += age.eq(age + 1)
            with m.If(age != 0):
                m.d.sync += [coming.eq(found), next_left.eq(found_left)]
        with m.If(given_up):
            m.d.sync += offered.eq(0)
        with m.If(take):
            m.d.sync += [offered.eq(1), line.eq(found), left.eq(found_left), age.eq(0), next_left.eq(0)]
            m.d.sync += [address.eq(address + 1), over.eq(address == config.program_depth - 1)]
        with m.If(accept[Opcode.WINDOW]):
            m.d.sync += [window.eq(line[OPCODE_BITS:]), given.eq(1)]
        with m.If(accept[Opcode.PASS]):
            m.d.sync += [since.eq(1), passes.eq(passes + 1)]
        with m.If(accept[Opcode.DRAIN]):
            m.d.sync += bank.eq(~bank)
        with m.If(accept[Opcode.OUTPUT]):
            m.d.sync += sending.eq(1)
        with m.If(sending & dut.sent):
            m.d.sync += sending.eq(0)
        with m.If(accept[Opcode.END] | illegal):
            m.d.sync += [active.eq(0), offered.eq(0)]
        with m.If(~active & dut.inference.run):
            m.d.sync += [active.eq(1), address.eq(0), over.eq(0), cycles.eq(0), passes.eq(0), bank.eq(0)]

        still = self.groups - self.group + 1
        self.require(
            ages=age <= config.fetch_cycles,
            phases=(active | ~(sending | offered | (age != 0))) & ~(last & (age != 0)),
            idle=(self.state == IDLE) == ~active,
            sends=(self.state == SEND) == sending,
            offers=self.held == offered,
            fetches=self.stands == (age != 0),
            looks=self.seen == (known & (left == 0)),
            lefts=((left == 0) | loads) & ((next_left == 0) | (known & has_tile)),
            line=~offered | (self.line == line),
            found=~known | (coming == stood),
            unread=~(known & has_tile & loads) | (next_left == found_pass.groups + 1),
            pending=self.pending == ((left != 0) | (known & (next_left != 0))),
            reads=~self.pending | (still == Mux(left != 0, left, next_left)),
            loaded=self.loaded == Mux(loads, left == 0, known & has_tile & (next_left == 0)),
            gap=self.gap == config.min_pass - since,
            window=~given | (self.peek("window", len(window)) == window),
            address=~active | ((dut.program.address == address) & (self.over == over)),
        )
        self.require(
            busy=dut.inference.busy == active,
            complete=dut.inference.complete == accept[Opcode.END],
            failed=dut.inference.failed == illegal,
            cycles=~active | (dut.inference.cycles == cycles),
            passes=~active | (dut.inference.passes == passes),
            start=dut.start.valid & dut.start.ready == accept[Opcode.PASS],
            tile=~dut.start.valid
            | (dut.start.payload["pass"].as_value() == taken.as_value())
            & (~given | (dut.start.payload.window.as_value() == window))
            & (dut.start.payload.bank == bank),
            drain=dut.drain.start == accept[Opcode.DRAIN],
            drained=~dut.drain.start
            | (dut.drain.operands.as_value() == operands[Opcode.DRAIN].as_value())
            & (
                ~given
                | (dut.drain.width == self._size(window, "width")) & (dut.drain.height == self._size(window, "height"))
            ),
            bank=~active | (dut.drain.bank == bank),
            send=(dut.send.valid & dut.send.ready) == accept[Opcode.OUTPUT],
            sent=~dut.send.valid | (dut.send.payload.as_value() == operands[Opcode.OUTPUT].as_value()),
        )
        # After the end the counters keep what the host reads.
        ended = self.past(m, ~dut.inference.busy & ~dut.inference.run, "ended") & self.running
        kept = (dut.inference.cycles == self.past(m, dut.inference.cycles, "cycles")) & (
            dut.inference.passes == self.past(m, dut.inference.passes, "passes")
        )
        self.require(kept=~ended | kept)

    def _operands(self, line: Value, opcode: Opcode) -> data.View:
        layout = record_layout(instructions(self.config)[opcode].record(self.config))
        return data.View(layout, line[OPCODE_BITS : OPCODE_BITS + layout.size])

    def _size(self, window: Signal, name: str) -> Value:
        return data.View(record_layout(Window.record(self.config)), window)[name]


PROPERTIES: tuple[type[Checker], ...] = (SequencerTiming,)
