"""The sequencer: fetches the pass program, loads tiles, and hands passes and drains to the units that do them."""

from amaranth import Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from twofold.golden import isa
from twofold.golden.config import ArrayConfig
from twofold.golden.isa import OPCODE_BITS, Opcode, Section
from twofold.hdl.layouts import fields_layout


class Sequencer(wiring.Component):
    """Executes one program from line 0 to END, with the timing of docs/machine.md.

    Parameters
    ----------
    config
        The build.

    Members
    -------
    run : In(1)
        Begin in the next cycle; only while not busy.
    busy : Out(1)
        A program runs.
    complete, failed : Out(1)
        In the last busy cycle: it reached END, or an illegal instruction.
    cycles, passes : Out(32)
        Of the program that runs or ran last.
    program_address : Out, program_data : In
        The program memory; data one cycle after the address.
    weight_address : Out
        Line of the column to load.
    load : Out(cols)
        Column that the line read two cycles before is for.
    set : Out
        Point set to decode it with.
    start : Out(stream of {window, pass, bank})
        A pass whose tile is loaded.
    drain_start : Out(1), drain : Out, drain_bank : Out(1), width, height : Out, drain_idle : In(1)
        The requantiser.
    send : Out(stream of `isa.output_fields`), sent : In(1)
        Lines for the host; `sent` when all of them are taken.
    """

    def __init__(self, config: ArrayConfig):
        self.config = config
        self.layouts = {opcode: fields_layout(isa.operand_fields(config, opcode)) for opcode in Opcode}
        self.line_bits = isa.line_bits(config, Section.PROGRAM)
        window = isa.window_fields(config)
        super().__init__(
            {
                "run": In(1),
                "busy": Out(1),
                "complete": Out(1),
                "failed": Out(1),
                "cycles": Out(32),
                "passes": Out(32),
                "program_address": Out(range(config.program_depth)),
                "program_data": In(self.line_bits),
                "weight_address": Out(range(config.weight_depth)),
                "load": Out(config.cols),
                "set": Out(isa.pass_fields(config)["set"]),
                "start": Out(
                    stream.Signature(
                        data.StructLayout(
                            {"window": self.layouts[Opcode.WINDOW], "pass": self.layouts[Opcode.PASS], "bank": 1}
                        )
                    )
                ),
                "drain_start": Out(1),
                "drain": Out(self.layouts[Opcode.DRAIN]),
                "drain_bank": Out(1),
                "width": Out(window["width"]),
                "height": Out(window["height"]),
                "drain_idle": In(1),
                "send": Out(stream.Signature(self.layouts[Opcode.OUTPUT])),
                "sent": In(1),
            }
        )

    def _operands(self, opcode, line):
        layout = self.layouts[opcode]
        return data.View(layout, line[OPCODE_BITS : OPCODE_BITS + layout.size])

    def _go_on(self, m, next_line):
        with m.If(next_line):
            m.d.sync += self.program_address.eq(self.program_address + 1)
            m.next = "FETCH"
            with m.If(self.program_address == self.config.program_depth - 1):
                m.next = "OVERRUN"

    def elaborate(self, platform):
        m = Module()
        config = self.config
        line = Signal(self.line_bits)
        opcode = line[:OPCODE_BITS]
        window = Signal(self.layouts[Opcode.WINDOW])
        taken = self._operands(Opcode.PASS, line)
        bank = Signal()
        column = Signal(range(config.cols))
        settle = Signal(range(config.load_latency))
        loaded = Signal()
        load = Signal()
        gap = Signal(range(config.min_pass))
        free = Signal()
        next_line = Signal()

        m.d.comb += [
            free.eq(self.start.ready & (gap == 0)),
            self.start.payload.window.eq(window),
            self.start.payload["pass"].eq(taken),
            self.start.payload.bank.eq(bank),
            self.set.eq(taken.set),
            self.weight_address.eq(taken.weights + column),
            self.drain.eq(self._operands(Opcode.DRAIN, line)),
            self.drain_bank.eq(bank),
            self.width.eq(window.width),
            self.height.eq(window.height),
            self.send.payload.eq(self._operands(Opcode.OUTPUT, line)),
        ]
        with m.If(gap != 0):
            m.d.sync += gap.eq(gap - 1)

        with m.FSM() as fsm:
            with m.State("IDLE"):
                with m.If(self.run):
                    m.d.sync += [self.program_address.eq(0), self.cycles.eq(0), self.passes.eq(0), bank.eq(0)]
                    m.next = "FETCH"
            with m.State("FETCH"):
                m.next = "DECODE"
            with m.State("DECODE"):
                # Only the line is taken here: block RAMs are slow, and what it says is looked at in the next cycle.
                m.d.sync += [line.eq(self.program_data), column.eq(0), loaded.eq(0), settle.eq(config.load_latency - 1)]
                m.next = "OFFER"
            with m.State("SETTLE"):
                m.d.sync += settle.eq(settle - 1)
                with m.If(settle == 0):
                    m.next = "OFFER"
            with m.State("OFFER"):
                with m.Switch(opcode):
                    with m.Case(Opcode.WINDOW):
                        m.d.sync += window.eq(self._operands(Opcode.WINDOW, line))
                        m.d.comb += next_line.eq(1)
                    with m.Case(Opcode.PASS):
                        with m.If(~loaded):
                            m.d.comb += load.eq(1)
                            m.d.sync += column.eq(column + 1)
                            with m.If(column == taken.columns):
                                m.d.sync += loaded.eq(1)
                                m.next = "SETTLE"
                        with m.Elif(free & (self.drain_idle | ~taken.wait)):
                            m.d.comb += [self.start.valid.eq(1), next_line.eq(1)]
                            m.d.sync += [gap.eq(config.min_pass - 1), self.passes.eq(self.passes + 1)]
                    with m.Case(Opcode.DRAIN):
                        with m.If(free & self.drain_idle):
                            m.d.comb += [self.drain_start.eq(1), next_line.eq(1)]
                            m.d.sync += bank.eq(~bank)
                    with m.Case(Opcode.OUTPUT):
                        with m.If(free & self.drain_idle):
                            m.d.comb += self.send.valid.eq(1)
                            with m.If(self.send.ready):
                                m.next = "SEND"
                    with m.Case(Opcode.END):
                        with m.If(free & self.drain_idle):
                            m.d.comb += self.complete.eq(1)
                            m.next = "IDLE"
                    with m.Default():
                        with m.If(free & self.drain_idle):
                            m.d.comb += self.failed.eq(1)
                            m.next = "IDLE"
                self._go_on(m, next_line)
            with m.State("SEND"):
                m.d.comb += next_line.eq(self.sent)
                self._go_on(m, next_line)
            with m.State("OVERRUN"):
                with m.If(free & self.drain_idle):
                    m.d.comb += self.failed.eq(1)
                    m.next = "IDLE"

        m.d.comb += self.busy.eq(~fsm.ongoing("IDLE"))
        with m.If(self.busy & ~fsm.ongoing("SEND")):
            m.d.sync += self.cycles.eq(self.cycles + 1)

        # The line read in a cycle with `load` is decoded two cycles later.
        column_bit = Signal(config.cols)
        m.d.comb += column_bit.eq((1 << column) & load.replicate(config.cols))
        for n in range(config.load_latency):
            delayed = self.load if n == config.load_latency - 1 else Signal(config.cols, name=f"column_bit{n}")
            m.d.sync += delayed.eq(column_bit)
            column_bit = delayed
        return m
