"""The sequencer: fetches the pass program, loads tiles, and hands passes and drains to the units that do them."""

from amaranth import Module, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from twofold.golden.config import ArrayConfig
from twofold.golden.isa import INSTRUCTIONS, OPCODE_BITS, Opcode, Pass, Section, line_bits
from twofold.hdl.interfaces import INFERENCE, draining, read_port
from twofold.hdl.layouts import field_shape, record_layout


class Sequencer(wiring.Component):
    """Executes one program from line 0 to END, with the timing of docs/machine.md.

    Parameters
    ----------
    config
        The build.

    Members
    -------
    inference : Out(`INFERENCE`)
        A program is run.
    program : Out(`read_port`)
        Reads program memory.
    weight_address : Out
        Line of the column to load.
    load : Out(cols)
        Column that the line read two cycles before is for.
    set : Out
        Point set to decode it with.
    start : Out(stream of {window, pass, bank})
        A pass whose tile is loaded, or kept from the pass before.
    drain : Out(`draining`)
        Drains for the requantiser.
    send : Out(stream of `isa.Output`), sent : In(1)
        Lines for the host; `sent` when all of them are taken.
    """

    def __init__(self, config: ArrayConfig):
        self.config = config
        self.layouts = {opcode: record_layout(kind.record(config)) for opcode, kind in INSTRUCTIONS.items()}
        self.line_bits = line_bits(config, Section.PROGRAM)
        super().__init__(
            {
                "inference": Out(INFERENCE),
                "program": Out(read_port(range(config.program_depth), self.line_bits)),
                "weight_address": Out(range(config.weight_depth)),
                "load": Out(config.cols),
                "set": Out(field_shape(Pass.record(config)["set"])),
                "start": Out(
                    stream.Signature(
                        data.StructLayout(
                            {"window": self.layouts[Opcode.WINDOW], "pass": self.layouts[Opcode.PASS], "bank": 1}
                        )
                    )
                ),
                "drain": Out(draining(config)),
                "send": Out(stream.Signature(self.layouts[Opcode.OUTPUT])),
                "sent": In(1),
            }
        )

    def _operands(self, opcode: Opcode, line: Value) -> data.View:
        layout = self.layouts[opcode]
        return data.View(layout, line[OPCODE_BITS : OPCODE_BITS + layout.size])

    def _go_on(self, m: Module, next_line: Value) -> None:
        with m.If(next_line):
            m.d.sync += self.program.address.eq(self.program.address + 1)
            m.next = "FETCH"
            with m.If(self.program.address == self.config.program_depth - 1):
                m.next = "OVERRUN"

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config, inference = self.config, self.inference
        at = _Place(self)
        next_line = Signal()
        self._outputs(m, at)
        with m.If(at.gap != 0):
            m.d.sync += at.gap.eq(at.gap - 1)

        with m.FSM() as fsm:
            with m.State("IDLE"):
                with m.If(inference.run):
                    m.d.sync += [self.program.address.eq(0), inference.cycles.eq(0)]
                    m.d.sync += [inference.passes.eq(0), at.bank.eq(0)]
                    m.next = "FETCH"
            with m.State("FETCH"):
                m.next = "DECODE"
            with m.State("DECODE"):
                # Only the line is taken here: block RAMs are slow, and what it says is looked at in the next cycle.
                m.d.sync += [at.line.eq(self.program.line), at.column.eq(0), at.loaded.eq(0)]
                m.d.sync += at.settle.eq(config.load_latency - 1)
                m.next = "OFFER"
            with m.State("SETTLE"):
                m.d.sync += at.settle.eq(at.settle - 1)
                with m.If(at.settle == 0):
                    m.next = "OFFER"
            with m.State("OFFER"):
                self._offer(m, at, next_line)
                self._go_on(m, next_line)
            with m.State("SEND"):
                m.d.comb += next_line.eq(self.sent)
                self._go_on(m, next_line)
            with m.State("OVERRUN"):
                with m.If(at.free & self.drain.idle):
                    m.d.comb += inference.failed.eq(1)
                    m.next = "IDLE"

        m.d.comb += inference.busy.eq(~fsm.ongoing("IDLE"))
        with m.If(inference.busy & ~fsm.ongoing("SEND")):
            m.d.sync += inference.cycles.eq(inference.cycles + 1)
        self._load_bits(m, at)
        return m

    def _outputs(self, m: Module, at: "_Place") -> None:
        """What the units are offered of the line and the window that stand."""
        m.d.comb += [
            at.free.eq(self.start.ready & (at.gap == 0)),
            self.start.payload.window.eq(at.window),
            self.start.payload["pass"].eq(at.taken),
            self.start.payload.bank.eq(at.bank),
            self.set.eq(at.taken.set),
            self.weight_address.eq(at.taken.weights + at.column),
            self.drain.operands.eq(self._operands(Opcode.DRAIN, at.line)),
            self.drain.bank.eq(at.bank),
            self.drain.width.eq(at.window.width),
            self.drain.height.eq(at.window.height),
            self.send.payload.eq(self._operands(Opcode.OUTPUT, at.line)),
        ]

    def _offer(self, m: Module, at: "_Place", next_line: Value) -> None:
        """The instruction's own unit takes it when it can."""
        done = at.free & self.drain.idle
        with m.Switch(at.line[:OPCODE_BITS]):
            with m.Case(Opcode.WINDOW):
                m.d.sync += at.window.eq(self._operands(Opcode.WINDOW, at.line))
                m.d.comb += next_line.eq(1)
            with m.Case(Opcode.PASS):
                with m.If(~at.loaded & ~at.taken.kept):
                    m.d.comb += at.load.eq(1)
                    m.d.sync += at.column.eq(at.column + 1)
                    with m.If(at.column == at.taken.columns):
                        m.d.sync += at.loaded.eq(1)
                        m.next = "SETTLE"
                with m.Elif(at.free & (self.drain.idle | ~at.taken.wait)):
                    m.d.comb += [self.start.valid.eq(1), next_line.eq(1)]
                    m.d.sync += [
                        at.gap.eq(self.config.min_pass - 1),
                        self.inference.passes.eq(self.inference.passes + 1),
                    ]
            with m.Case(Opcode.DRAIN):
                with m.If(done):
                    m.d.comb += [self.drain.start.eq(1), next_line.eq(1)]
                    m.d.sync += at.bank.eq(~at.bank)
            with m.Case(Opcode.OUTPUT):
                with m.If(done):
                    m.d.comb += self.send.valid.eq(1)
                    with m.If(self.send.ready):
                        m.next = "SEND"
            with m.Case(Opcode.END):
                with m.If(done):
                    m.d.comb += self.inference.complete.eq(1)
                    m.next = "IDLE"
            with m.Default():
                with m.If(done):
                    m.d.comb += self.inference.failed.eq(1)
                    m.next = "IDLE"

    def _load_bits(self, m: Module, at: "_Place") -> None:
        """The line read in a cycle with `load` is decoded two cycles later."""
        cols, late = self.config.cols, self.config.load_latency
        column_bit = Signal(cols)
        m.d.comb += column_bit.eq((1 << at.column) & at.load.replicate(cols))
        for n in range(late):
            delayed = self.load if n == late - 1 else Signal(cols, name=f"column_bit{n}")
            m.d.sync += delayed.eq(column_bit)
            column_bit = delayed


class _Place:
    """Where the program stands: its line and window, the tile that is being loaded, the bank, the pass before."""

    def __init__(self, sequencer: Sequencer) -> None:
        config = sequencer.config
        self.line = Signal(sequencer.line_bits)
        self.taken = sequencer._operands(Opcode.PASS, self.line)
        self.window = Signal(sequencer.layouts[Opcode.WINDOW])
        self.bank = Signal()
        self.column = Signal(range(config.cols))
        self.settle = Signal(range(config.load_latency))
        self.loaded = Signal()
        self.load = Signal()
        self.gap = Signal(range(config.min_pass))
        self.free = Signal()
