"""The sequencer keeps, cycle by cycle, to the table of instructions in docs/machine.md."""

from amaranth import Module, Mux, Signal, Value
from amaranth.lib import data

from twofold.formal.builds import SMALL
from twofold.formal.checker import Checker
from twofold.formal.faults import Fault
from twofold.formal.sequencer import DECODE, FETCH, IDLE, OFFER, OVERRUN, SEND, SETTLE
from twofold.golden.config import bits_for
from twofold.golden.isa import INSTRUCTIONS, OPCODE_BITS, Opcode, Section, Window, line_bits
from twofold.hdl.layouts import record_layout


class SequencerTiming(Checker):
    """Which instruction is accepted when, with which operands and bank, for any program and any units.

    The reference counts cycles since an instruction was fetched, and since a pass was accepted, and knows no states.
    """

    name = "sequencer: exact timing, operands, counters"
    component = "sequencer"
    short = ("log_4x4",)
    fault_depth = 12
    fault_build = SMALL
    faults = (
        Fault("sequencer", "gap.eq(self.config.min_pass - 1)", "gap.eq(self.config.min_pass - 2)", "drain"),
        Fault("sequencer", "self.drain.idle | ~at.taken.wait", "1", "start"),
        Fault(
            "sequencer",
            "inference.cycles.eq(inference.cycles + 1)",
            "inference.cycles.eq((inference.cycles + 1)[:3])",
            "cycles",
        ),
        Fault("sequencer", "inference.busy & ~fsm.ongoing", "inference.busy | fsm.ongoing", "cycles"),
        Fault("sequencer", "bank.eq(~at.bank)", "bank.eq(1)", "bank"),
        Fault("sequencer", "self.set.eq(at.taken.set)", "self.set.eq(at.taken.shift)", "set"),
        Fault(
            "sequencer",
            "inference.passes.eq(self.inference.passes + 1)",
            "inference.passes.eq(self.inference.passes)",
            "passes",
        ),
        Fault("sequencer", "with m.If(~at.loaded & ~at.taken.kept):", "with m.If(~at.loaded):", "start"),
    )

    def specify(self, m: Module) -> None:
        config, dut = self.config, self.dut
        loaded_after = config.fetch_cycles + 1 + config.load_latency
        most = config.cols + loaded_after
        #: A program runs; it sends an output; it has run off its memory.
        active, sending, over = (Signal(name=name) for name in ("active", "sending", "over"))
        #: Cycles since the instruction was fetched, and since a pass was accepted; they stop where no more matters.
        age = Signal(range(most + 1))
        since = Signal(range(config.min_pass + 1), init=config.min_pass)
        line = Signal(line_bits(config, Section.PROGRAM), reset_less=True)
        address = Signal.like(dut.program.address, name="address", reset_less=True)
        window = Signal(Window.record(config).width, reset_less=True)
        cycles, passes = Signal(32, reset_less=True), Signal(32, reset_less=True)
        bank, given = Signal(name="current_bank", reset_less=True), Signal(name="given")

        opcode = line[:OPCODE_BITS]
        operands = {kind: self._operands(line, kind) for kind in (Opcode.PASS, Opcode.DRAIN, Opcode.OUTPUT)}
        taken = operands[Opcode.PASS]
        decoded = active & ~sending & ~over & (age >= config.fetch_cycles)
        free = dut.start.ready & (since == config.min_pass)
        done = free & dut.drain.idle
        accepts = {
            Opcode.WINDOW: Value.cast(1),
            Opcode.PASS: (taken.kept | (age >= loaded_after + taken.columns)) & free & (dut.drain.idle | ~taken.wait),
            Opcode.DRAIN: done,
            Opcode.OUTPUT: done & dut.send.ready,
            Opcode.END: done,
        }
        accept = {kind: Signal(name=f"accept_{kind.name.lower()}") for kind in accepts}
        m.d.comb += [signal.eq(decoded & (opcode == kind) & accepts[kind]) for kind, signal in accept.items()]
        illegal = Signal()
        legal = (opcode >= Opcode.WINDOW) & (opcode <= Opcode.END)
        m.d.comb += illegal.eq(done & ((decoded & ~legal) | over))
        next_line = accept[Opcode.WINDOW] | accept[Opcode.PASS] | accept[Opcode.DRAIN] | (sending & dut.sent)

        with m.If(since != config.min_pass):
            m.d.sync += since.eq(since + 1)
        with m.If(active & ~sending):
            m.d.sync += cycles.eq(cycles + 1)
        with m.If(active & (age != most)):
            m.d.sync += age.eq(age + 1)
        with m.If(active & (age == 1)):
            m.d.sync += line.eq(dut.program.line)
        with m.If(accept[Opcode.WINDOW]):
            m.d.sync += [window.eq(line[OPCODE_BITS:]), given.eq(1)]
        with m.If(accept[Opcode.PASS]):
            m.d.sync += [since.eq(1), passes.eq(passes + 1)]
        with m.If(accept[Opcode.DRAIN]):
            m.d.sync += bank.eq(~bank)
        with m.If(accept[Opcode.OUTPUT]):
            m.d.sync += sending.eq(1)
        with m.If(next_line):
            m.d.sync += [sending.eq(0), age.eq(0), address.eq(address + 1)]
            m.d.sync += over.eq(address == config.program_depth - 1)
        with m.If(accept[Opcode.END] | illegal):
            m.d.sync += [active.eq(0), over.eq(0)]
        with m.If(~active & dut.inference.run):
            m.d.sync += [active.eq(1), age.eq(0), address.eq(0), cycles.eq(0), passes.eq(0), bank.eq(0)]

        state = self.peek("fsm_state", 3)
        loading = decoded & (opcode == Opcode.PASS) & ~taken.kept
        column = age - config.fetch_cycles
        settle = self.peek("settle", bits_for(config.load_latency))
        in_offer = Mux(loading, (age <= taken.columns + config.fetch_cycles) | (age >= loaded_after + taken.columns), 1)
        fetched = active & ~sending & ~over
        known = fetched & (age >= config.fetch_cycles)
        self.require(
            ages=age <= most,
            phases=(active | ~(sending | over)) & ~(sending & over),
            sends=~sending | ((opcode == Opcode.OUTPUT) & (age >= config.fetch_cycles)),
            idle=(state == IDLE) == ~active,
            over=(state == OVERRUN) == over,
            sending=(state == SEND) == sending,
            fetch=(state == FETCH) == (fetched & (age == 0)),
            decode=(state == DECODE) == (fetched & (age == 1)),
            offer=(state == OFFER) == (known & in_offer),
            settle=(state == SETTLE) == (known & ~in_offer),
            gap=self.peek("gap", bits_for(config.min_pass)) == config.min_pass - since,
            line=~(known | sending) | (self.peek("line", len(line)) == line),
            window=~given | (self.peek("window", len(window)) == window),
            loaded=~(known & (age > taken.columns + config.fetch_cycles) & loading) | self.peek("loaded"),
            loading=~(known & (age <= taken.columns + config.fetch_cycles)) | ~self.peeks["loaded"],
            column=~(loading & (age <= taken.columns + config.fetch_cycles))
            | (self.peek("column", bits_for(config.cols)) == column),
            full=~(loading & (age <= taken.columns + config.fetch_cycles)) | (settle == config.load_latency - 1),
            settling=~(known & ~in_offer) | (settle == loaded_after - 1 + taken.columns - age),
            address=~active | over | (dut.program.address == address),
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
            set=~loading | (dut.set == taken.set),
        )
        # After the end the counters keep what the host reads.
        ended = self.past(m, ~dut.inference.busy & ~dut.inference.run, "ended") & self.running
        kept = (dut.inference.cycles == self.past(m, dut.inference.cycles, "cycles")) & (
            dut.inference.passes == self.past(m, dut.inference.passes, "passes")
        )
        self.require(kept=~ended | kept)

    def _operands(self, line: Value, opcode: Opcode) -> data.View:
        layout = record_layout(INSTRUCTIONS[opcode].record(self.config))
        return data.View(layout, line[OPCODE_BITS : OPCODE_BITS + layout.size])

    def _size(self, window: Signal, name: str) -> Value:
        return data.View(record_layout(Window.record(self.config)), window)[name]


PROPERTIES: tuple[type[Checker], ...] = (SequencerTiming,)
