"""From accumulators to activations: bias, multiplication by a few signed digits, one rounding, clip."""

from amaranth import Array, Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from twofold.golden.config import ArrayConfig
from twofold.golden.isa import Channel
from twofold.hdl.interfaces import accumulator_port, draining, feature_writes, read_port
from twofold.hdl.layouts import channels_layout, record_layout


class RequantUnit(wiring.Component):
    """``clip(rne((acc + bias) * sum(+-2**shift[n]) * 2**-right), low, high)``, shifts and adds only.

    Takes one accumulator a cycle; the activation stands ``4 + digits`` cycles later.

    Parameters
    ----------
    config
        The build.

    Members
    -------
    acc : In(signed(acc_width))
        Accumulator, in accumulator LSBs.
    channel : In(`isa.Channel`)
        The output channel's bias, digits and right shift.
    low, high : In(signed(clip_bits))
        Clip bounds; constant while a chunk is drained.
    activation : Out(act_bits)
        Two's complement where the bounds are negative.

    Source: docs/machine.md; rounding to nearest, ties to even, as torch.round.
    """

    def __init__(self, config: ArrayConfig):
        self.config = config
        self.channel_layout = record_layout(Channel.record(config))
        super().__init__(
            {
                "acc": In(signed(config.acc_width)),
                "channel": In(self.channel_layout),
                "low": In(signed(config.clip_bits)),
                "high": In(signed(config.clip_bits)),
                "activation": Out(config.act_bits),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        biased = Signal(signed(config.acc_width), reset_less=True)
        channel = Signal(self.channel_layout, reset_less=True)
        m.d.sync += [biased.eq(self.acc + self.channel.bias), channel.eq(self.channel)]

        total = None
        for n in range(config.digits):
            digit = Signal(signed(config.scaled_bits), name=f"digit{n}")
            after = Signal(signed(config.scaled_bits), name=f"total{n}", reset_less=True)
            minus, on = channel[f"minus{n}"], channel[f"on{n}"]
            shifted = (biased << channel[f"shift{n}"]) & on.replicate(config.scaled_bits).as_signed()
            m.d.comb += digit.eq(shifted ^ minus.replicate(config.scaled_bits).as_signed())
            m.d.sync += after.eq(digit + minus if total is None else total + digit + minus)
            biased, channel = self._delay(m, n, biased, channel)
            total = after

        quotient = Signal(signed(config.scaled_bits), reset_less=True)
        half = Signal(reset_less=True)
        below = Signal(reset_less=True)
        lost = Cat(channel.right > n for n in range(config.scaled_bits))
        m.d.sync += [
            quotient.eq(total >> channel.right),
            half.eq((total & (lost ^ (lost >> 1))).any()),
            below.eq((total & (lost >> 1)).any()),
        ]
        rounded = Signal(signed(config.scaled_bits), reset_less=True)
        m.d.sync += rounded.eq(quotient + (half & (below | quotient[0])))
        with m.If(rounded < self.low):
            m.d.sync += self.activation.eq(self.low)
        with m.Elif(rounded > self.high):
            m.d.sync += self.activation.eq(self.high)
        with m.Else():
            m.d.sync += self.activation.eq(rounded)
        return m

    def _delay(self, m: Module, n: int, biased: Value, channel: Value) -> tuple[Value, Value]:
        biased_next = Signal(biased.shape(), name=f"biased{n}", reset_less=True)
        channel_next = Signal(self.channel_layout, name=f"channel{n}", reset_less=True)
        m.d.sync += [biased_next.eq(biased), channel_next.eq(channel)]
        return biased_next, channel_next


class Requantiser(wiring.Component):
    """Drains a bank of accumulators: position by position, `requant_units` columns a cycle.

    A drain taken in cycle a reads its first accumulators in cycle ``a + array_latency``, takes ``P * G`` reads
    (positions times column groups) and is idle ``requant_latency`` cycles after, when all its activations can be read.

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
    write : Out(`feature_writes`)
        Activations for feature memory.
    """

    def __init__(self, config: ArrayConfig):
        self.config = config
        super().__init__(
            {
                "drain": In(draining(config)),
                "accumulators": Out(accumulator_port(config)),
                "channel": Out(read_port(range(config.channel_depth), channels_layout(config))),
                "write": Out(feature_writes(config)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        at = _Place(self)
        reading = Signal()
        timer = Signal(range(max(config.array_latency, config.requant_latency) + 1))
        m.d.comb += [
            at.end_of_position.eq(at.group == at.drain.groups),
            at.last.eq(at.end_of_position & (at.column == 1) & (at.row == 1)),
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
                m.d.comb += reading.eq(1)
                m.d.sync += timer.eq(config.requant_latency - 1)
                self._advance(m, at)
                with m.If(at.last):
                    m.next = "FLUSH"
            with m.State("FLUSH"):
                m.d.sync += timer.eq(timer - 1)
                with m.If(timer == 0):
                    m.next = "IDLE"
        picked_group = self._writes(m, at, reading)
        self._units(m, at, picked_group)
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
            at.column.eq(given.width),
            at.row.eq(given.height),
            at.group.eq(0),
            at.lane.eq(given.operands.lane),
            at.position_address.eq(given.operands.address),
            at.address.eq(given.operands.address),
        ]

    def _advance(self, m: Module, at: "_Place") -> None:
        """To the next group of columns, or the next position."""
        drain = at.drain
        with m.If(at.end_of_position):
            step = Mux(at.column == 1, drain.row_step, 1)
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
            next_lane = Signal.like(at.lane)
            m.d.comb += next_lane.eq(at.lane + self.config.requant_units)
            m.d.sync += [at.group.eq(at.group + 1), at.lane.eq(next_lane), at.channel.eq(at.channel + 1)]
            with m.If(next_lane == 0):
                m.d.sync += at.address.eq(at.address + drain.plane)

    def _writes(self, m: Module, at: "_Place", reading: Signal) -> Value:
        """Lanes and line travel beside the arithmetic; returns the group whose accumulators stand.

        Read data stand one cycle after the read and are registered, since block RAMs are slow; the picked columns
        stand one cycle later, with their channel.
        """
        enable = Signal(self.config.rows)
        m.d.comb += enable.eq(Mux(reading, ((1 << self.config.requant_units) - 1) << at.lane, 0))
        write_enable, write_address, picked_group = enable, at.address, at.group
        for n in range(self.config.requant_latency - 1):
            write_enable = self._register(m, write_enable, f"enable{n}")
            write_address = self._register(m, write_address, f"address{n}")
            if n < 2:
                picked_group = self._register(m, picked_group, f"picked_group{n}")
        m.d.comb += [self.write.enable.eq(write_enable), self.write.address.eq(write_address)]
        return picked_group

    def _units(self, m: Module, at: "_Place", picked_group: Value) -> None:
        """The arithmetic, a unit for every column of a group."""
        config, units = self.config, self.config.requant_units
        channels = Signal(channels_layout(config), reset_less=True)
        line = Signal.like(self.accumulators.line, reset_less=True)
        m.d.sync += [
            channels.eq(self.channel.line),
            line.eq(self.accumulators.line),
            self.channel.address.eq(at.channel),
        ]
        for unit in range(units):
            columns = Array(line[g * units + unit] for g in range(config.cols // units))
            acc = Signal(signed(config.acc_width), name=f"acc{unit}", reset_less=True)
            m.d.sync += acc.eq(columns[picked_group])
            m.submodules[f"unit{unit}"] = requant = RequantUnit(config)
            m.d.comb += [
                requant.acc.eq(acc),
                requant.channel.eq(channels[unit]),
                requant.low.eq(at.drain.low),
                requant.high.eq(at.drain.high),
            ]
            for lane in range(unit, config.rows, units):
                m.d.comb += self.write.data[lane].eq(requant.activation)

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
        self.column = Signal.like(given.width)
        self.row = Signal.like(given.height)
        self.group = Signal.like(self.drain.groups)
        self.lane = Signal.like(self.drain.lane)
        self.channel = Signal.like(requantiser.channel.address)
        self.position_address = Signal.like(self.drain.address)
        self.address = Signal.like(self.drain.address)
        self.end_of_position = Signal()
        self.last = Signal()
