"""The sequencer: fetches the program and loads tiles ahead, and hands passes and drains to the units that do them."""

from amaranth import Cat, Module, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from twofold.golden.config import ArrayConfig
from twofold.golden.isa import OPCODE_BITS, Opcode, Pass, Section, instructions, line_bits
from twofold.hdl.interfaces import INFERENCE, TRANSFERRING, draining, read_port
from twofold.hdl.layouts import field_shape, record_layout

#: Instructions behind which the program goes on.
GOES_ON = (Opcode.WINDOW, Opcode.PASS, Opcode.DRAIN, Opcode.OUTPUT)


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
        Weight line to load.
    load : Out(load_groups)
        Group of columns that the line read two cycles before is for.
    set : Out
        Point set to decode the line with that was read one cycle before.
    start : Out(stream of {window, pass, bank})
        A pass whose tile's lines are all read, or that keeps the tile of the pass before.
    drain : Out(`draining`)
        Drains for the requantiser.
    send : Out(stream of `isa.Output`), sent : In(1)
        Lines for the host; `sent` when all of them are taken.
    transferring : Out(`TRANSFERRING`), stalls : Out(32)
        The transfer list, and how long the array waited for it (builds with a memory outside only).
    """

    def __init__(self, config: ArrayConfig):
        self.config = config
        self.layouts = {opcode: record_layout(kind.record(config)) for opcode, kind in instructions(config).items()}
        self.line_bits = line_bits(config, Section.PROGRAM)
        outside = {"transferring": Out(TRANSFERRING), "stalls": Out(32)} if config.external else {}
        super().__init__(
            outside
            | {
                "inference": Out(INFERENCE),
                "program": Out(read_port(range(config.program_depth), self.line_bits)),
                "weight_address": Out(range(config.weight_depth)),
                "load": Out(config.load_groups),
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

    def elaborate(self, platform: object) -> Module:
        m = Module()
        inference = self.inference
        at = _Place(self)
        self._outputs(m, at)
        with m.If(at.gap != 0):
            m.d.sync += at.gap.eq(at.gap - 1)

        with m.FSM() as fsm:
            with m.State("IDLE"):
                with m.If(inference.run):
                    m.d.sync += [self.program.address.eq(0), at.over.eq(0), at.ended.eq(0), at.bank.eq(0)]
                    m.d.sync += [inference.cycles.eq(0), inference.passes.eq(0)]
                    m.next = "BEGIN" if self.config.external else "RUN"
            with m.State("RUN"):
                m.d.comb += at.running.eq(1)
                m.d.sync += inference.cycles.eq(inference.cycles + 1)
                if self.config.external:
                    with m.If(self.transferring.fault):
                        m.next = "STOP"
                    with m.Elif(at.held):
                        self._offer(m, at)
                else:
                    with m.If(at.held):
                        self._offer(m, at)
            with m.State("SEND"):
                with m.If(self.sent):
                    m.next = "RUN"
            if self.config.external:
                self._ends(m, at)

        m.d.comb += inference.busy.eq(~fsm.ongoing("IDLE"))
        self._load(m, at)
        self._fetch(m, at)
        self._load_bits(m, at)
        if self.config.external:
            self._transfers(m, at)
        return m

    def _outputs(self, m: Module, at: "_Place") -> None:
        """What the units are offered of the line and the window that stand."""
        m.d.comb += [
            at.free.eq(self.start.ready & (at.gap == 0)),
            self.start.payload.window.eq(at.window),
            self.start.payload["pass"].eq(at.taken),
            self.start.payload.bank.eq(at.bank),
            self.drain.operands.eq(self._operands(Opcode.DRAIN, at.line)),
            self.drain.bank.eq(at.bank),
            self.drain.width.eq(at.window.width),
            self.drain.height.eq(at.window.height),
            self.drain.step.eq(at.window.out_step),
            self.send.payload.eq(self._operands(Opcode.OUTPUT, at.line)),
        ]

    def _offer(self, m: Module, at: "_Place") -> None:
        """The held instruction's own unit takes it when it can."""
        done = at.free & self.drain.idle
        with m.Switch(at.line[:OPCODE_BITS]):
            with m.Case(Opcode.WINDOW):
                m.d.sync += at.window.eq(self._operands(Opcode.WINDOW, at.line))
                m.d.comb += at.accept.eq(1)
            with m.Case(Opcode.PASS):
                with m.If((at.loaded | at.taken.kept) & at.free & (self.drain.idle | ~at.taken.wait)):
                    m.d.comb += [self.start.valid.eq(1), at.accept.eq(1)]
                    m.d.sync += [
                        at.gap.eq(self.config.min_pass - 1),
                        self.inference.passes.eq(self.inference.passes + 1),
                    ]
            with m.Case(Opcode.DRAIN):
                with m.If(done):
                    m.d.comb += [self.drain.start.eq(1), at.accept.eq(1)]
                    m.d.sync += at.bank.eq(~at.bank)
            with m.Case(Opcode.OUTPUT):
                with m.If(done):
                    m.d.comb += [self.send.valid.eq(1), at.accept.eq(self.send.ready)]
                    with m.If(self.send.ready):
                        m.next = "SEND"
            if self.config.external:
                with m.Case(Opcode.SYNC):
                    with m.If(at.reached):
                        m.d.comb += at.accept.eq(1)
                    with m.Elif(done & at.short):
                        m.next = "STOP"
                with m.Case(Opcode.END):
                    with m.If(done & self.transferring.finished):
                        m.d.comb += [self.inference.complete.eq(1), at.accept.eq(1)]
                        m.next = "IDLE"
                    with m.Elif(done & self.transferring.stuck):
                        m.next = "STOP"
                with m.Default():
                    with m.If(done):
                        m.next = "STOP"
            else:
                with m.Case(Opcode.END):
                    with m.If(done):
                        m.d.comb += [self.inference.complete.eq(1), at.accept.eq(1)]
                        m.next = "IDLE"
                with m.Default():
                    with m.If(done):
                        m.d.comb += [self.inference.failed.eq(1), at.accept.eq(1)]
                        m.next = "IDLE"

    def _ends(self, m: Module, at: "_Place") -> None:
        """States of builds with a memory outside: the program's first lines come, or the inference fails."""
        to, inference = self.transferring, self.inference
        with m.State("BEGIN"):
            m.d.sync += [inference.cycles.eq(inference.cycles + 1), self.stalls.eq(self.stalls + 1)]
            with m.If(to.fault):
                m.next = "STOP"
            with m.Elif(to.done != 0):
                m.next = "RUN"
            with m.Elif(to.finished | to.stuck):
                m.next = "STOP"
        with m.State("STOP"):
            m.d.comb += to.stop.eq(1)
            with m.If(to.idle & at.free & self.drain.idle):
                m.d.comb += inference.failed.eq(1)
                m.next = "IDLE"

    def _transfers(self, m: Module, at: "_Place") -> None:
        """SYNC, and how long it made the array wait."""
        to, waited, enough = self.transferring, Signal(), Signal()
        m.d.comb += [
            to.start.eq(self.inference.run & ~self.inference.busy),
            enough.eq(to.done >= self._operands(Opcode.SYNC, at.line).need),
            at.waiting.eq(at.running & at.held & (at.line[:OPCODE_BITS] == Opcode.SYNC) & ~at.reached),
            at.short.eq((to.finished | to.stuck) & ~enough),
        ]
        m.d.sync += [at.reached.eq(at.waiting & enough), waited.eq(at.waiting)]
        with m.If(waited & at.waiting & at.free):
            m.d.sync += self.stalls.eq(self.stalls + 1)
        with m.If(to.start):
            # The inference before may have stopped anywhere.
            m.d.sync += [one.eq(0) for one in (self.stalls, at.held, at.stands, at.seen, at.pending, at.loaded)]

    def _fetch(self, m: Module, at: "_Place") -> None:
        """One line is held; the next one stands in the memory's output until it is held. Behind the last one stands 0.

        Only `_load` looks at it there: block RAMs are slow, and what it says is looked at when it is held.
        """
        take = Signal()
        goes_on = (*GOES_ON, Opcode.SYNC) if self.config.external else GOES_ON
        m.d.comb += [
            at.opcode.eq(self.program.line[:OPCODE_BITS] & ~at.over.replicate(OPCODE_BITS)),
            take.eq(at.running & at.stands & (~at.held | at.accept)),
        ]
        with m.If(at.running & ~at.ended):
            m.d.sync += at.stands.eq(1)
        with m.If(at.accept):
            m.d.sync += at.held.eq(0)
        with m.If(take):
            m.d.sync += [
                at.line.eq(Cat(at.opcode, self.program.line[OPCODE_BITS:])),
                at.held.eq(1),
                at.stands.eq(0),
                at.seen.eq(0),
                at.ended.eq(~Cat(at.opcode == opcode for opcode in goes_on).any()),
                at.over.eq(0 if self.config.external else self.program.address == self.config.program_depth - 1),
                self.program.address.eq(self.program.address + 1),
            ]

    def _load(self, m: Module, at: "_Place") -> None:
        """Reads the lines of the next tile from the cycle on in which the tile before is taken.

        A tile goes with the line that is held or with the one that stands: that is looked at once, when no line of
        another tile is left to read. Nothing behind END or an illegal instruction stands.
        """
        ahead = self._operands(Opcode.PASS, self.program.line)
        room, last = Signal(), Signal()
        taken = self.start.valid & ~at.taken.kept
        m.d.comb += [
            room.eq(~at.loaded | taken),
            at.reading.eq(at.running & at.pending & room),
            last.eq(at.reading & (at.group == at.groups)),
        ]
        m.d.sync += self.set.eq(at.tile_set)
        with m.If(taken):
            m.d.sync += at.loaded.eq(0)
        with m.If(at.reading):
            m.d.sync += [self.weight_address.eq(self.weight_address + 1), at.group.eq(at.group + 1)]
        with m.If(last):
            m.d.sync += [at.loaded.eq(1), at.pending.eq(0)]
        look = at.running & at.stands & ~at.seen & (~at.pending | last)
        with m.If(look & ~at.waiting if self.config.external else look):
            m.d.sync += [
                at.seen.eq(1),
                at.pending.eq((at.opcode == Opcode.PASS) & ~ahead.kept),
                self.weight_address.eq(ahead.weights),
                at.groups.eq(ahead.groups),
                at.group.eq(0),
                at.tile_set.eq(ahead.set),
            ]

    def _load_bits(self, m: Module, at: "_Place") -> None:
        """The line read in a cycle with `reading` is decoded two cycles later."""
        groups, late = self.config.load_groups, self.config.load_latency
        group_bit = Signal(groups)
        m.d.comb += group_bit.eq((1 << at.group) & at.reading.replicate(groups))
        for n in range(late):
            delayed = self.load if n == late - 1 else Signal(groups, name=f"group_bit{n}")
            m.d.sync += delayed.eq(group_bit)
            group_bit = delayed


class _Place:
    """Where the program stands.

    Attributes
    ----------
    line, taken, held
        The instruction that is offered, if one is `held`.
    stands, seen, opcode
        The line behind it stands in program memory's output; it was looked at for its tile; its opcode.
    over, ended
        The program ran past its memory; what is held is the last instruction.
    pending, groups, group, tile_set, reading
        A tile has lines to be read; their number minus one, the next one, the point set; it is read in this cycle.
    loaded
        All lines of a tile are read, and its pass has not begun.
    waiting, reached
        A SYNC is held and not accepted, and what stands behind it may be old; its transfers were done the cycle before.
    short
        As many transfers as it waits for will never be done.
    """

    def __init__(self, sequencer: Sequencer) -> None:
        config = sequencer.config
        self.running = Signal()
        self.accept = Signal()
        self.line = Signal(sequencer.line_bits)
        self.taken = sequencer._operands(Opcode.PASS, self.line)
        self.held = Signal()
        self.stands = Signal()
        self.seen = Signal()
        self.opcode = Signal(OPCODE_BITS)
        self.over = Signal()
        self.ended = Signal()
        self.window = Signal(sequencer.layouts[Opcode.WINDOW])
        self.bank = Signal()
        self.pending = Signal()
        self.groups = Signal.like(self.taken.groups)
        self.group = Signal.like(self.taken.groups)
        self.tile_set = Signal.like(self.taken.set)
        self.reading = Signal()
        self.loaded = Signal()
        if config.external:
            self.waiting = Signal()
            self.reached = Signal()
            self.short = Signal()
        self.gap = Signal(range(config.min_pass))
        self.free = Signal()
