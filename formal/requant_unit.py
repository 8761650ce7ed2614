"""A unit of the requantiser computes the golden formula, stage by stage."""

from amaranth import Module, Mux, Signal, Value, signed

from twofold.formal.checker import Checker
from twofold.formal.faults import Fault
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
    """``addend + (acc + bias) * sum(+-2**shift[n])``: the bias, and a product of an integer and a power of two a digit.

    With `digits` of at most ``2**digit_span`` the total is exact (`ArrayConfig.scaled_bits`); all of it is modulo that.
    """

    name = "requantiser: accumulator plus bias, times its digits"
    fault_depth = 8
    faults = (
        Fault(
            "requant_unit", "biased.eq(self.acc + self.channel.bias)", "biased.eq(self.acc - self.channel.bias)", "bias"
        ),
        Fault("requant_unit", "after.eq(total + digit + minus)", "after.eq(total + digit)", "digit0"),
        Fault("requant_unit", "total = after", "", "digit1"),
        Fault("requant_unit", "total = self._skip(m)", "total = self._skip(m) & 0", "digit0"),
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
        total: Value = self.past(m, self.peek("addend", signed(config.scaled_bits)), "addend")
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


class RequantSkip(_Unit):
    """The skip meets the first digit shifted by its own shift and its channel's right shift together.

    In units of the scaled sum, modulo ``2**scaled_bits``; the shift is modulo `ArrayConfig.skip_reach`. It is added
    before the one rounding, which is proven of the sum.
    """

    name = "requantiser: skip in units of the scaled sum"
    fault_depth = 8
    faults = (
        Fault("requant_unit", "self.channel.right + self.skip_shift", "self.channel.right - self.skip_shift", "skip"),
        Fault("requant_unit", "fine << (coarse << FINE_BITS)", "fine << coarse", "skip"),
        Fault("requant_unit", "fine.eq(self.skip << place[:FINE_BITS])", "fine.eq(self.skip)", "skip"),
    )

    def specify(self, m: Module) -> None:
        config, dut = self.config, self.dut
        place = Signal(range(config.skip_reach))
        m.d.comb += place.eq(dut.channel.right + dut.skip_shift)
        shifted = Signal(signed(config.scaled_bits))
        m.d.comb += shifted.eq(dut.skip << place)
        addend = self.peek("addend", signed(config.scaled_bits))
        self.require(skip=~self.running | (addend == self.past(m, shifted, "shifted")))


class RequantRounding(_Unit):
    """``rne(total * 2**-right)``: the nearest integer, the even one of two that are equally near."""

    name = "requantiser: rounded to the nearest"
    depth = 2
    fault_depth = 8
    faults: tuple[Fault, ...] = (
        Fault(
            "requant_unit",
            "quotient.eq(total >> channel.right)",
            "quotient.eq(total >> (channel.right + 1))",
            "nearest",
        ),
        Fault("requant_unit", "quotient + (half &", "quotient + (~half &", "nearest"),
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
    faults = (Fault("requant_unit", "(half & (below | quotient[0]))", "half", "even"),)

    def specify(self, m: Module) -> None:
        ready, rounded, distance, unit = self.rounding(m)
        tie = (distance == unit) | (-distance == unit)
        self.require(even=~ready | ~tie | ~rounded[0])


class RequantClip(_Unit):
    """``clip(rounded, low, high)`` with low at most high."""

    name = "requantiser: clip"
    fault_depth = 10
    faults = (Fault("requant_unit", "rounded > self.high", "rounded >= 127", "clip"),)

    def specify(self, m: Module) -> None:
        dut = self.dut
        self.assume(dut.low <= dut.high)
        rounded = self.peek("rounded", signed(self.config.scaled_bits))
        clipped = Mux(rounded < dut.low, dut.low, Mux(rounded > dut.high, dut.high, rounded))
        self.require(clip=dut.activation == clipped[: self.config.value_bits])


PROPERTIES: tuple[type[Checker], ...] = (RequantProduct, RequantSkip, RequantRounding, RequantTies, RequantClip)
