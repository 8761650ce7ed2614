"""A drain visits exactly its positions, and what the requantiser is made of is connected as it should be."""

from typing import Any, ClassVar

from amaranth import Array, Cat, Module, Mux, Signal, Value
from amaranth.lib import data

from twofold.formal.checker import Checker
from twofold.formal.faults import Fault
from twofold.golden.config import bits_for
from twofold.golden.isa import SKIP_SHIFT_BITS


class DrainPositions(Checker):
    """A drain reads every position and group of columns once, in order, and gives each to its place of its line.

    With a skip a line of one group waits a cycle before it. What the line writer makes of a group, and the skip reader
    of a line, is proven of each, and here that they are asked as their proofs assume.
    """

    name = "requantiser visits exactly the specified positions"
    component = "requantiser"
    cut_memories = True
    fault_depth = 14
    # Where a position is one group, some faults change nothing.
    fault_build: ClassVar[dict[str, Any]] = {"requant_units": 1}
    faults = (
        Fault("requantiser", "Mux(at.column == 1, drain.row_step, at.step)", "drain.row_step", "row_address"),
        Fault("requantiser", "at.step.eq(given.step)", "at.step.eq(1)", "step"),
        Fault(
            "requantiser",
            "with m.If(at.next_lane == 0):",
            "with m.If(at.next_lane == self.config.requant_units):",
            "line",
        ),
        Fault("requantiser", "given = Cat(at.taken,", "given = Cat(at.reading,", "given0"),
        Fault("requantiser", "at.drain.skip & at.first & at.end_of_line", "at.drain.skip & at.first", "taken"),
        Fault("requantiser", "at.address + at.drain.skip_offset", "at.drain.skip_offset", "port"),
        Fault("requantiser", "requant.skip.eq(skip.activations[unit])", "requant.skip.eq(0)", "connected"),
        Fault("requantiser", "timer.eq(config.array_latency - 2)", "timer.eq(config.array_latency - 3)", "reading"),
        Fault("requantiser", "channel.eq(at.channel + 1)", "channel.eq(at.channel)", "channel"),
    )

    def specify(self, m: Module) -> None:
        config, dut = self.config, self.dut
        units, k = config.requant_units, bits_for(config.feature_depth)
        taken = dut.drain.start & dut.drain.idle
        drain = Signal.like(dut.drain.operands, name="given", reset_less=True)
        width, height = (
            Signal.like(size, name=f"given_{n}", reset_less=True)
            for n, size in enumerate((dut.drain.width, dut.drain.height))
        )
        step = Signal.like(dut.drain.step, name="given_step", reset_less=True)
        i, j, n = (Signal(len(dut.drain.width), name=name, reset_less=True) for name in "ijn")
        g = Signal(len(drain.groups) + 1, reset_less=True)
        busy, bank = Signal(), Signal(reset_less=True)
        wait = Signal(range(config.array_latency + config.requant_latency + 1), reset_less=True)
        reading, waited = Signal(), Signal()
        place = drain.lane + g * units
        begins = (g == 0) | (place % config.rows == 0)
        ends = (g == drain.groups) | ((place + units) % config.rows == 0)
        wait_here = drain.skip & begins & ends & ~waited
        taking = reading & ~wait_here
        last = (g == drain.groups) & (j == width - 1) & (i == height - 1)
        flushing = Signal()
        with m.If(busy & (wait != 0)):
            m.d.sync += wait.eq(wait - 1)
        with m.If(busy & ~flushing & (wait == 1)):
            m.d.sync += reading.eq(1)
        m.d.sync += waited.eq(reading & wait_here)
        with m.If(taking):
            with m.If(g != drain.groups):
                m.d.sync += g.eq(g + 1)
            with m.Else():
                m.d.sync += [g.eq(0), n.eq(n + 1), j.eq(Mux(j == width - 1, 0, j + 1)), i.eq(i + (j == width - 1))]
            with m.If(last):
                m.d.sync += [reading.eq(0), flushing.eq(1), wait.eq(config.requant_latency - 1)]
        with m.If(flushing & (wait == 0)):
            m.d.sync += [busy.eq(0), flushing.eq(0)]
        with m.If(taken):
            m.d.sync += [
                busy.eq(1),
                flushing.eq(0),
                drain.eq(dut.drain.operands),
                width.eq(dut.drain.width),
                height.eq(dut.drain.height),
                step.eq(dut.drain.step),
                bank.eq(dut.drain.bank),
                i.eq(0),
                j.eq(0),
                n.eq(0),
                g.eq(0),
                wait.eq(config.array_latency - 1),
            ]
        given = dut.drain.operands
        legal = (
            (dut.drain.width >= 1) & (dut.drain.height >= 1) & (dut.drain.width * dut.drain.height <= config.acc_depth)
        )
        if units > 1:
            legal &= given.lane[: bits_for(units)] == 0
        self.assume(~dut.drain.start | (dut.drain.idle & legal))

        lines = (1 << k) - 1
        position_address = self.peek("position_address", k)
        address = self.peek("line_address", k)
        self.require(
            busy=dut.drain.idle == ~busy,
            phase=~reading | (busy & ~flushing & (wait == 0)),
            wait=~(busy & ~flushing & ~reading) | ((wait >= 1) & (wait < config.array_latency)),
            flush=~flushing | (busy & (wait < config.requant_latency)),
            state=self.peek("fsm_state", 2) == Mux(~busy, 0, Mux(reading, 2, Mux(flushing, 3, 1))),
            reading=self.peek("reading") == reading,
            waited=~waited | (reading & drain.skip & begins & ends),
            before=~(busy & ~reading & ~flushing) | ((i == 0) & (j == 0) & (n == 0) & (g == 0)),
        )
        counting = busy & ~flushing
        wanted = (drain.channels + g)[: len(dut.channel.address)]
        self.require(
            legal=~busy | (width >= 1) & (height >= 1),
            inside=~counting | ((i < height) & (j < width) & (g <= drain.groups)),
            timer=~busy
            | reading
            | (
                self.peek("timer", bits_for(max(config.array_latency, config.requant_latency) + 1))
                == Mux(flushing, wait, wait - 1)
            ),
            drain=~busy | (self.peek("drain", len(drain.as_value())) == drain.as_value()),
            width=~busy | (self.peek("width", len(width)) == width),
            step=~busy | (self.peek("step", len(step)) == step),
            column=~counting | (self.peek("column", len(width)) == width - j),
            row=~counting | (self.peek("row", len(height)) == height - i),
            first=~counting | (self.peek("line_begins") == (begins & ~waited)),
            group=~counting | (self.peek("group", len(drain.groups)) == g),
            lane=~counting | (self.peek("lane", len(drain.lane)) == place % config.rows),
            bank=~busy | (dut.accumulators.bank == bank),
            position=~reading | (dut.accumulators.position == n),
            counted=~counting | (dut.accumulators.position == n[: len(dut.accumulators.position)]),
            taken=self.peek("group_taken") == taking,
            ends=~counting | (self.peek("end_of_line") == ends),
            next_channel=~counting | (self.peek("channel$", len(dut.channel.address)) == wanted),
        )
        # The drain's first line, and from a row's last position `row_step` more for every row before; within a row
        # `step` more for every position before.
        row_line, column_lines = Signal(k, reset_less=True), Signal(k, reset_less=True)
        with m.If(taking & (g == drain.groups)):
            m.d.sync += column_lines.eq(column_lines + step)
            with m.If(j == width - 1):
                m.d.sync += [row_line.eq(row_line + column_lines + drain.row_step), column_lines.eq(0)]
        with m.If(taken):
            m.d.sync += [row_line.eq(dut.drain.operands.address), column_lines.eq(0)]
        if units > 1:
            self.require(aligned=~busy | (drain.lane[: bits_for(units)] == 0))
        easy = tuple(self.requirements)
        self.require(
            (*easy, "fits", "raster"),
            fits=~counting | (width * height <= config.acc_depth),
            raster=~counting | (n == i * width + j),
        )
        self.require(
            (*easy, "row_address"),
            row_address=~counting | (position_address == ((row_line + column_lines) & lines)),
        )
        self.require(
            (*easy, "line"),
            line=~counting | (address == ((position_address + (place // config.rows) * drain.plane) & lines)),
        )
        group = self.peeks["lane"][(units - 1).bit_length() :]
        line = self.peeks["line_address"]
        self._lines(m, easy, Cat(taking, self.peeks["end_of_line"], line, group), flushing, wait, drain.skip)
        self._port(m, easy, group)
        # The columns picked for a unit are those of the group that was read, with the group's channels.
        # Accumulators stand one cycle after the read and are registered; the channel is asked one cycle later.
        read = self.past(m, taking, "read") & self.running
        self.require(easy, channel=~read | (dut.channel.address == self.past(m, wanted, "channel")))
        self.require(easy, group0=~read | (self.peek("picked_group0", len(drain.groups)) == self.past(m, g, "g")))
        group = self.past(m, self.peeks["picked_group0"], "group0")
        self.require((), group1=~self.running | (self.peek("picked_group1", len(drain.groups)) == group))
        line = self.peek("line", len(dut.accumulators.line.as_value()))
        self.require(
            (), registered=~self.running | (line == self.past(m, dut.accumulators.line.as_value(), "read_data"))
        )
        picked = self.past(m, self.peeks["picked_group1"], "group1")
        columns = self.past(m, line, "line")
        channels = self.past(m, dut.channel.line.as_value(), "channels")
        size = len(channels) // units
        for unit in range(units):
            places = range(unit, config.cols, units)
            acc = Array(columns.word_select(place, config.acc_width) for place in places)[picked]
            channel = channels.word_select(unit, size)
            self.require(
                (),
                **{
                    f"column{unit}": ~self.running | (self.peek(f"unit{unit}.acc", config.acc_width) == acc),
                    f"channel{unit}": ~self.running | (self.peek(f"unit{unit}.channel", size) == channel),
                },
            )
        self.require((), connected=Cat(self._connected()).all())

    def _lines(self, m: Module, easy: tuple[str, ...], given: Value, flushing: Value, wait: Value, skip: Value) -> None:
        """Where a group goes travels beside the arithmetic; with a skip no line is written right after another.

        `given`: whether a group is taken, whether it ends its line, the line, and the place in it.
        """
        config = self.config
        busy, size, steps = ~self.dut.drain.idle, len(given), config.requant_latency - 2
        settling = busy & ~flushing & ~self.peeks["reading"]
        since = config.requant_latency - 1 - wait
        value, done = given, given[0] & given[1]
        before: tuple[str, ...] = ()
        for n in range(steps + 1):
            name = f"given{n}" if n < steps else "writing"
            if n < steps:
                stage = self.peek(name, size)
                self.require(easy, **{name: ~self.running | (stage == self.past(m, value, name))})
                here, later, value = stage[0], stage[0] & stage[1], stage
            else:
                here = later = self.peek("line_writer.writing")
                self.require((), **{name: ~self.running | (later == self.past(m, done, "done"))})
            # Nothing is under way once the drain is done, and with a skip no two lines end one after the other.
            left = {f"left{n}": ~here | (busy & ~settling & ~(flushing & (since > n)))}
            self.require((*easy, *before, name), **left)
            self.require((*easy, *before, name, *left), **{f"apart{n}": ~(skip & done & later)})
            done, before = later, (name, f"left{n}", f"apart{n}")
        places = config.rows // config.requant_units
        takes = Cat(
            self.peek("line_writer.valid"),
            self.peek("line_writer.last"),
            self.peek("line_writer.address", bits_for(config.feature_depth)),
            self.peek("line_writer.place", bits_for(places)),
        )
        self.require((), travels=takes == value)

    def _port(self, m: Module, easy: tuple[str, ...], place: Value) -> None:
        """The port writes what the line writer gives, and else asks for the line of the skip; as the reader assumes."""
        config, dut, drain = self.config, self.dut, self.peeks["drain"]
        operands = data.View(dut.drain.operands.shape(), drain)
        bits = bits_for(config.feature_depth)
        writing, taken = self.peeks["line_writer.writing"], self.peek("skip_reader.taken")
        asked = (self.peeks["line_address"] + operands.skip_offset)[:bits]
        first = self.peek("skip_reader.first")
        self.require(
            (),
            port=dut.feature.address == Mux(writing, self.peek("line_writer.write__address", bits), asked),
            written=(dut.feature.enable == self.peek("line_writer.write__enable", config.rows))
            & (dut.feature.data.as_value() == self.peek("line_writer.write__data", config.feature_bits)),
            read=(dut.feature.read == self.peek("skip_reader.read__enable")) & (taken == writing),
            skip_line=self.peek("skip_reader.read__line", config.feature_bits) == dut.feature.line.as_value(),
            kind=(self.peek("skip_reader.on") == operands.skip)
            & (self.peek("skip_reader.is_signed") == operands.skip_signed),
        )
        self.require(
            easy,
            skip_first=first == (self.peeks["reading"] & self.peeks["line_begins"]),
            skip_place=~self.peeks["reading"] | (self.peek("skip_reader.place", bits_for(1 << len(place))) == place),
        )
        wanted = self.past(m, operands.skip & first, "wanted") & self.running
        self.require(
            (*easy, "skip_first"), once=~(wanted & first), stays=~wanted | (asked == self.past(m, asked, "asked"))
        )

    def _connected(self) -> list[Value]:
        """Every unit gets its lanes of the skip and what the drain says, and its activation goes to the line writer."""
        config = self.config
        operands = data.View(self.dut.drain.operands.shape(), self.peeks["drain"])
        units = config.requant_units
        skips = self.peek("skip_reader.activations", (config.act_bits + 1) * units)
        activations = self.peek("line_writer.activations", config.act_bits * units)
        wires = []
        for unit in range(units):
            wires += [
                self.peek(f"unit{unit}.skip", config.act_bits + 1) == skips.word_select(unit, config.act_bits + 1),
                self.peek(f"unit{unit}.skip_shift", SKIP_SHIFT_BITS) == operands.skip_shift.as_unsigned(),
                self.peek(f"unit{unit}.low", config.clip_bits) == operands.low.as_unsigned(),
                self.peek(f"unit{unit}.high", config.clip_bits) == operands.high.as_unsigned(),
            ]
        return wires + self._results(operands, activations)

    def _results(self, operands: data.View, activations: Value) -> list[Value]:
        """What the line writer gets: the units' activations, or what the tables make of them."""
        config = self.config
        given = Cat(self.peek(f"unit{unit}.activation", config.value_bits) for unit in range(config.requant_units))
        if not config.tables:
            return [given == activations]
        entries = self.dut.entries
        return [
            self.peek("table_lookup.values", len(given)) == given,
            activations == self.peek("table_lookup.activations", len(activations)),
            self.peek("table_lookup.on") == operands.tabled,
            self.peek("table_lookup.number", bits_for(config.tables)) == operands.table,
            self.peek("table_lookup.entries__enable") == entries.enable,
            self.peek("table_lookup.entries__address", len(entries.address)) == entries.address,
            self.peek("table_lookup.entries__data", config.act_bits) == entries.data,
        ]


PROPERTIES: tuple[type[Checker], ...] = (DrainPositions,)
