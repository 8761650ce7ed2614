"""The requantiser computes the golden formula, stage by stage, and a drain visits exactly its positions."""

from amaranth import Array, Module, Mux, Signal, Value, signed

from twofold.formal.checker import Checker
from twofold.formal.faults import Fault
from twofold.golden.config import bits_for
from twofold.golden.isa import Channel
from twofold.hdl.layouts import record_layout


class _Unit(Checker):
    component = "requant_unit"

    def past_channel(self, m: Module, number: int):
        """The channel that stood one cycle ago at the input (0) or in stage `number`."""
        layout = record_layout(Channel.record(self.config))
        if number == 0:
            now = self.dut.channel
        else:
            name = "channel$" if number == 1 else f"channel{number - 2}"
            now = layout(self.peek(name, layout.size))
        before = Signal(layout, name=f"past_channel{number}", reset_less=True)
        m.d.sync += before.eq(now)
        return now, before


class RequantProduct(_Unit):
    """``(acc + bias) * sum(+-2**shift[n])``: the bias, and one product of an integer and a signed power of two a digit.

    With `digits` of at most ``2**digit_span`` the total is exact (`ArrayConfig.scaled_bits`); all of it is modulo that.
    """

    name = "requantiser: accumulator plus bias, times its digits"
    fault_depth = 8
    faults = (
        Fault(
            "requantiser", "biased.eq(self.acc + self.channel.bias)", "biased.eq(self.acc - self.channel.bias)", "bias"
        ),
        Fault("requantiser", "after.eq(digit + minus if", "after.eq(digit if", "digit0"),
        Fault("requantiser", "else total + digit + minus)", "else total + digit)", "digit1"),
    )

    def specify(self, m: Module) -> None:
        config = self.config
        wide = (1 << config.scaled_bits) - 1
        channels = [self.past_channel(m, n) for n in range(config.digits + 2)]
        acc = self.past(m, self.dut.acc, "acc")
        biased = self.peek("biased", signed(config.acc_width))
        self.require(bias=~self.running | (biased == (acc + channels[0][1].bias)[: config.acc_width].as_signed()))
        for n in range(config.digits + 1):
            same = channels[n + 1][0].as_value() == channels[n][1].as_value()
            self.require(**{f"channel{n}": ~self.running | same})
        total: Value = Value.cast(0)
        for n in range(config.digits):
            channel = channels[n + 1][1]
            power = Signal(1 << len(channel[f"shift{n}"]), name=f"power{n}")
            m.d.comb += power.eq(1 << channel[f"shift{n}"])
            factor = Signal(signed(len(power) + 1), name=f"factor{n}")
            m.d.comb += factor.eq(Mux(channel[f"on{n}"], Mux(channel[f"minus{n}"], -power, power), 0))
            product = Signal(signed(config.scaled_bits), name=f"product{n}")
            m.d.comb += product.eq(self.past(m, biased, f"biased{n}") * factor)
            after = self.peek(f"total{n}", signed(config.scaled_bits))
            self.require((), **{f"digit{n}": ~self.running | ((after & wide) == ((total + product) & wide))})
            total = self.past(m, after, f"total{n}")
            if n < config.digits - 1:
                biased_next = self.peek(f"biased{n}", signed(config.acc_width))
                self.require(**{f"biased{n}": ~self.running | (biased_next == self.past(m, biased, f"carried{n}"))})
                biased = biased_next


class RequantRounding(_Unit):
    """``rne(total * 2**-right)``: the nearest integer, the even one of two that are equally near."""

    name = "requantiser: rounded to the nearest"
    depth = 2
    fault_depth = 8
    faults: tuple[Fault, ...] = (
        Fault(
            "requantiser", "quotient.eq(total >> channel.right)", "quotient.eq(total >> (channel.right + 1))", "nearest"
        ),
        Fault("requantiser", "quotient + (half &", "quotient + (~half &", "nearest"),
    )

    def rounding(self, m: Module) -> tuple[Value, Value, Value, Value]:
        """Two cycles are past, the rounded number, twice its distance from the exact one, and 2**right."""
        config = self.config
        channel, _ = self.past_channel(m, config.digits + 1)
        total = self.peek(f"total{config.digits - 1}", signed(config.scaled_bits))
        exact = self.past(m, self.past(m, total, "total"), "total2")
        right = self.past(m, self.past(m, channel.right, "right"), "right2")
        ready = Signal()
        m.d.sync += ready.eq(self.running)
        rounded = self.peek("rounded", signed(config.scaled_bits))
        unit = Signal(1 << len(right))
        m.d.comb += unit.eq(1 << right)
        back = Signal(signed(config.scaled_bits + len(unit)))
        m.d.comb += back.eq(rounded << right)
        distance = (exact - back) * 2
        return ready & self.running, rounded, distance, unit

    def specify(self, m: Module) -> None:
        ready, _, distance, unit = self.rounding(m)
        self.require(nearest=~ready | ((distance <= unit) & (-distance <= unit)))


class RequantTies(RequantRounding):
    """Where two integers are equally near, the even one is taken."""

    name = "requantiser: rounding ties go to even"
    faults = (Fault("requantiser", "(half & (below | quotient[0]))", "half", "even"),)

    def specify(self, m: Module) -> None:
        ready, rounded, distance, unit = self.rounding(m)
        tie = (distance == unit) | (-distance == unit)
        self.require(even=~ready | ~tie | ~rounded[0])


class RequantClip(_Unit):
    """``clip(rounded, low, high)`` with low at most high."""

    name = "requantiser: clip"
    fault_depth = 10
    faults = (Fault("requantiser", "with m.Elif(rounded > self.high)", "with m.Elif(rounded >= 127)", "clip"),)

    def specify(self, m: Module) -> None:
        dut = self.dut
        self.assume(dut.low <= dut.high)
        rounded = self.past(m, self.peek("rounded", signed(self.config.scaled_bits)), "rounded")
        low, high = self.past(m, dut.low, "low"), self.past(m, dut.high, "high")
        clipped = Mux(rounded < low, low, Mux(rounded > high, high, rounded))
        self.require(clip=~self.running | (dut.activation == clipped[: self.config.act_bits]))


class DrainPositions(Checker):
    """A drain reads every position and group of columns once, in order, and writes each where docs/machine.md says."""

    name = "requantiser visits exactly the specified positions"
    component = "requantiser"
    fault_depth = 14
    faults = (
        Fault("requantiser", "step = Mux(at.column == 1, drain.row_step, 1)", "step = drain.row_step", "row_address"),
        Fault(
            "requantiser", "with m.If(next_lane == 0):", "with m.If(next_lane == self.config.requant_units):", "line"
        ),
        Fault(
            "requantiser", "reading, ((1 << self.config.requant_units) - 1) << at.lane, 0)", "reading, 1, 0)", "enable0"
        ),
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
        i, j, n = (Signal(len(dut.drain.width), name=name, reset_less=True) for name in "ijn")
        g = Signal(len(drain.groups) + 1, reset_less=True)
        busy, bank = Signal(), Signal(reset_less=True)
        wait = Signal(range(config.array_latency + config.requant_latency + 1), reset_less=True)
        reading = Signal()
        last = (g == drain.groups) & (j == width - 1) & (i == height - 1)
        flushing = Signal()
        with m.If(busy & (wait != 0)):
            m.d.sync += wait.eq(wait - 1)
        with m.If(busy & ~flushing & (wait == 1)):
            m.d.sync += reading.eq(1)
        with m.If(reading):
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
        place = drain.lane + g * units
        position_address = self.peek("position_address", k)
        address = self.peek("address", k)
        enable = Mux(reading, ((1 << units) - 1) << (place % config.rows), 0)
        self.require(
            busy=dut.drain.idle == ~busy,
            phase=~reading | (busy & ~flushing & (wait == 0)),
            wait=~(busy & ~flushing & ~reading) | ((wait >= 1) & (wait < config.array_latency)),
            flush=~flushing | (busy & (wait < config.requant_latency)),
            state=self.peek("fsm_state", 2) == Mux(~busy, 0, Mux(reading, 2, Mux(flushing, 3, 1))),
            reading=self.peek("reading") == reading,
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
            column=~counting | (self.peek("column", len(width)) == width - j),
            row=~counting | (self.peek("row", len(height)) == height - i),
            group=~counting | (self.peek("group", len(drain.groups)) == g),
            lane=~counting | (self.peek("lane", len(drain.lane)) == place % config.rows),
            bank=~busy | (dut.accumulators.bank == bank),
            position=~reading | (dut.accumulators.position == n),
            counted=~counting | (dut.accumulators.position == n[: len(dut.accumulators.position)]),
            next_channel=~counting | (self.peek("channel$", len(dut.channel.address)) == wanted),
        )
        # The drain's first line, and `width - 1 + row_step` more for every row before.
        row_line = Signal(k, reset_less=True)
        with m.If(reading & (g == drain.groups) & (j == width - 1)):
            m.d.sync += row_line.eq(row_line + width - 1 + drain.row_step)
        with m.If(taken):
            m.d.sync += row_line.eq(dut.drain.operands.address)
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
            row_address=~counting | (position_address == ((row_line + j) & lines)),
        )
        self.require(
            (*easy, "line"),
            line=~counting | (address == ((position_address + (place // config.rows) * drain.plane) & lines)),
        )
        # Where a read is written travels beside the arithmetic, to the feature memory.
        spec = {"enable": enable, "address": address}
        for name, value in spec.items():
            for stage in range(config.requant_latency - 1):
                register = self.peek(f"{name}{stage}", len(dut.write.enable if name == "enable" else address))
                before = self.past(m, value, f"{name}{stage}")
                self.require(easy, **{f"{name}{stage}": ~self.running | (register == before)})
                value = register
            port = dut.write.enable if name == "enable" else dut.write.address
            self.require((), **{f"write_{name}": port == value})
        # The columns picked for a unit are those of the group that was read, with the group's channels.
        # Accumulators stand one cycle after the read and are registered; the channel is asked one cycle later.
        read = self.past(m, reading, "read") & self.running
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


PROPERTIES: tuple[type[Checker], ...] = (RequantProduct, RequantRounding, RequantTies, RequantClip, DrainPositions)
