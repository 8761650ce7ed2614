"""From accumulators to activations: reads a bank, adds a skip, requantises, writes feature lines."""

from amaranth import Array, Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from twofold.golden.config import ArrayConfig
from twofold.hdl.copies import copies
from twofold.hdl.interfaces import accumulator_port, draining, read_port, shared_port, table_writes
from twofold.hdl.layouts import channels_layout
from twofold.hdl.line_writer import LineWriter
from twofold.hdl.requant_unit import RequantUnit
from twofold.hdl.skip_reader import SkipReader
from twofold.hdl.table_lookup import TableLookup


class Requantiser(wiring.Component):
    """Drains a bank of accumulators: position by position, `requant_units` columns a cycle.

    A drain taken in cycle a reads its first accumulators in cycle ``a + array_latency``, takes ``P * G`` cycles
    (positions times `Drain.position_cycles`) and is idle ``requant_latency`` cycles after, when all its activations can
    be read. Lines of feature memory are written whole, so that the port is free for those of the skip: with one, a line
    of a single group waits a cycle before it.

    Parameters
    ----------
    config
        The build.

    Members
    -------
    drain : In(`draining`)
        Drains are taken here.
    accumulators : Out(`accumulator_port`)
        Reads the bank that is drained.
    channel : Out(`read_port`)
        Reads channel memory; asked one cycle after the accumulators.
    feature : Out(`shared_port`)
        Writes activations into feature memory, and reads skips.
    entries : In(`table_writes`)
        Fills the tables; only in a build with tables.
    """

    def __init__(self, config: ArrayConfig):
        self.config = config
        tables = {"entries": In(table_writes(config))} if config.tables else {}
        super().__init__(
            {
                "drain": In(draining(config)),
                "accumulators": Out(accumulator_port(config)),
                "channel": Out(read_port(range(config.channel_depth), channels_layout(config))),
                "feature": Out(shared_port(config)),
                **tables,
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        at = _Place(self)
        timer = Signal(range(max(config.array_latency, config.requant_latency) + 1))
        m.d.comb += [
            at.next_lane.eq(at.lane + config.requant_units),
            at.end_of_position.eq(at.group == at.drain.groups),
            at.end_of_line.eq(at.end_of_position | (at.next_lane == 0)),
            at.last.eq(at.end_of_position & (at.column == 1) & (at.row == 1)),
            at.taken.eq(at.reading & ~(at.drain.skip & at.first & at.end_of_line)),
        ]
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.drain.idle.eq(1)
                m.d.sync += timer.eq(config.array_latency - 2)
                with m.If(self.drain.start):
                    self._begin(m, at)
                    m.next = "SETTLE"
            with m.State("SETTLE"):
                m.d.sync += timer.eq(timer - 1)
                with m.If(timer == 0):
                    m.next = "READ"
            with m.State("READ"):
                m.d.comb += at.reading.eq(1)
                m.d.sync += [timer.eq(config.requant_latency - 1), at.first.eq(at.taken & at.end_of_line)]
                with m.If(at.taken):
                    self._advance(m, at)
                    with m.If(at.last):
                        m.next = "FLUSH"
            with m.State("FLUSH"):
                m.d.sync += timer.eq(timer - 1)
                with m.If(timer == 0):
                    m.next = "IDLE"
        place = at.lane[(config.requant_units - 1).bit_length() :]
        self._units(m, at, *self._feature(m, at, place))
        return m

    def _begin(self, m: Module, at: "_Place") -> None:
        """Take the drain that is given."""
        given = self.drain
        m.d.sync += [
            at.drain.eq(given.operands),
            self.accumulators.bank.eq(given.bank),
            self.accumulators.position.eq(0),
            at.channel.eq(given.operands.channels),
            at.width.eq(given.width),
            at.step.eq(given.step),
            at.column.eq(given.width),
            at.row.eq(given.height),
            at.group.eq(0),
            at.first.eq(1),
            at.lane.eq(given.operands.lane),
            at.position_address.eq(given.operands.address),
            at.address.eq(given.operands.address),
        ]

    def _advance(self, m: Module, at: "_Place") -> None:
        """To the next group of columns, or the next position."""
        drain = at.drain
        with m.If(at.end_of_position):
            step = Mux(at.column == 1, drain.row_step, at.step)
            m.d.sync += [
                at.group.eq(0),
                at.lane.eq(drain.lane),
                at.channel.eq(drain.channels),
                self.accumulators.position.eq(self.accumulators.position + 1),
                at.position_address.eq(at.position_address + step),
                at.address.eq(at.position_address + step),
                at.column.eq(Mux(at.column == 1, at.width, at.column - 1)),
            ]
            with m.If(at.column == 1):
                m.d.sync += at.row.eq(at.row - 1)
        with m.Else():
            m.d.sync += [at.group.eq(at.group + 1), at.lane.eq(at.next_lane), at.channel.eq(at.channel + 1)]
            with m.If(at.next_lane == 0):
                m.d.sync += at.address.eq(at.address + drain.plane)

    def _feature(self, m: Module, at: "_Place", place: Value) -> tuple[LineWriter, SkipReader]:
        """Lines are written when they are complete; those of the skip are read beside.

        Where a group goes travels beside the arithmetic.
        """
        config, feature = self.config, self.feature
        m.submodules.line_writer = writer = LineWriter(config)
        m.submodules.skip_reader = skip = SkipReader(config)
        given = Cat(at.taken, at.end_of_line, at.address, place)
        for n in range(config.requant_latency - 2):
            given = self._register(m, given, f"given{n}")
        m.d.comb += [
            Cat(writer.valid, writer.last, writer.address, writer.place[: len(place)]).eq(given),
            skip.on.eq(at.drain.skip),
            skip.is_signed.eq(at.drain.skip_signed),
            skip.first.eq(at.reading & at.first),
            skip.place.eq(place),
            skip.taken.eq(writer.writing),
            skip.read.line.eq(feature.line),
            feature.read.eq(skip.read.enable),
            feature.enable.eq(writer.write.enable),
            feature.data.eq(writer.write.data),
            feature.address.eq(Mux(writer.writing, writer.write.address, at.address + at.drain.skip_offset)),
        ]
        return writer, skip

    def _units(self, m: Module, at: "_Place", writer: LineWriter, skip: SkipReader) -> None:
        """The arithmetic, a unit for every column of a group.

        Read data stand one cycle after the read and are registered, since block RAMs are slow; the picked columns
        stand one cycle later, with their channel and their skip.
        """
        config, units = self.config, self.config.requant_units
        channels = Signal(channels_layout(config), reset_less=True)
        line = Signal.like(self.accumulators.line, reset_less=True)
        picked_group = self._register(m, self._register(m, at.group, "picked_group0"), "picked_group1")
        m.d.sync += [
            channels.eq(self.channel.line),
            line.eq(self.accumulators.line),
            self.channel.address.eq(at.channel),
        ]
        tables = self._tables(m, at) if config.tables else None
        for unit, requant in enumerate(copies("unit", lambda: RequantUnit(config), units)):
            columns = Array(line[g * units + unit] for g in range(config.cols // units))
            acc = Signal(signed(config.acc_width), name=f"acc{unit}", reset_less=True)
            m.d.sync += acc.eq(columns[picked_group])
            m.submodules[f"unit{unit}"] = requant
            m.d.comb += [
                requant.acc.eq(acc),
                requant.channel.eq(channels[unit]),
                requant.skip.eq(skip.activations[unit]),
                requant.skip_shift.eq(at.drain.skip_shift),
                requant.low.eq(at.drain.low),
                requant.high.eq(at.drain.high),
            ]
            if tables is None:
                m.d.comb += writer.activations[unit].eq(requant.activation)
            else:
                m.d.comb += tables.values[unit].eq(requant.activation)
                m.d.comb += writer.activations[unit].eq(tables.activations[unit])

    def _tables(self, m: Module, at: "_Place") -> TableLookup:
        """What follows the units in a build with tables."""
        m.submodules.table_lookup = tables = TableLookup(self.config)
        connect(m, flipped(self.entries), tables.entries)
        m.d.comb += [tables.on.eq(at.drain.tabled), tables.number.eq(at.drain.table)]
        return tables

    def _register(self, m: Module, value: Value, name: str) -> Value:
        register = Signal(len(value), name=name)
        m.d.sync += register.eq(value)
        return register


class _Place:
    """Where a drain stands: what is read in a cycle, and the lane and line that it goes to."""

    def __init__(self, requantiser: Requantiser) -> None:
        given = requantiser.drain
        self.drain = Signal(given.operands.shape())
        self.width = Signal.like(given.width)
        self.step = Signal.like(given.step)
        self.column = Signal.like(given.width)
        self.row = Signal.like(given.height)
        self.group = Signal.like(self.drain.groups)
        self.lane = Signal.like(self.drain.lane)
        self.channel = Signal.like(requantiser.channel.address)
        self.position_address = Signal.like(self.drain.address)
        self.address = Signal.like(self.drain.address, name="line_address")
        #: This cycle is the first of a line.
        self.first = Signal(name="line_begins")
        self.next_lane = Signal.like(self.lane)
        self.end_of_position = Signal()
        self.end_of_line = Signal()
        self.last = Signal()
        self.reading = Signal()
        #: A group is read in this cycle.
        self.taken = Signal(name="group_taken")
