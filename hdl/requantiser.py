"""From accumulators to activations: bias, multiplication by a few signed digits, one rounding, clip."""

from amaranth import Array, Cat, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from twofold.golden import isa
from twofold.golden.config import ArrayConfig
from twofold.hdl.layouts import fields_layout


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
    channel : In(`isa.channel_fields`)
        The output channel's bias, digits and right shift.
    low, high : In(signed(clip_bits))
        Clip bounds; constant while a chunk is drained.
    activation : Out(act_bits)
        Two's complement where the bounds are negative.

    Source: docs/machine.md; rounding to nearest, ties to even, as torch.round.
    """

    def __init__(self, config: ArrayConfig):
        self.config = config
        self.channel_layout = fields_layout(isa.channel_fields(config))
        super().__init__(
            {
                "acc": In(signed(config.acc_width)),
                "channel": In(self.channel_layout),
                "low": In(signed(config.clip_bits)),
                "high": In(signed(config.clip_bits)),
                "activation": Out(config.act_bits),
            }
        )

    def elaborate(self, platform):
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

    def _delay(self, m, n, biased, channel):
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
    start : In(1), drain : In(`isa.drain_fields`), bank : In(1), width, height : In
        Begin to drain that bank; only while `idle`.
    idle : Out(1)
        A drain can be taken, and everything written before can be read.
    read_position : Out, read_data : In(array of signed(acc_width))
        The accumulator memory; data one cycle after the position.
    channel_address : Out, channel_data : In(channel line)
        The channel memory; likewise. Asked one cycle after the accumulators.
    write_enable : Out(rows), write_address : Out, write_data : Out(array of act_bits)
        The feature memory; one enable a lane.
    """

    def __init__(self, config: ArrayConfig):
        self.config = config
        self.drain_layout = fields_layout(isa.drain_fields(config))
        self.channel_line = data.ArrayLayout(fields_layout(isa.channel_fields(config)), config.requant_units)
        window = isa.window_fields(config)
        super().__init__(
            {
                "start": In(1),
                "drain": In(self.drain_layout),
                "bank": In(1),
                "width": In(window["width"]),
                "height": In(window["height"]),
                "idle": Out(1),
                "read_bank": Out(1),
                "read_position": Out(range(config.acc_depth)),
                "read_data": In(data.ArrayLayout(signed(config.acc_width), config.cols)),
                "channel_address": Out(range(config.channel_depth)),
                "channel_data": In(self.channel_line),
                "write_enable": Out(config.rows),
                "write_address": Out(range(config.feature_depth)),
                "write_data": Out(data.ArrayLayout(config.act_bits, config.rows)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        config = self.config
        units = config.requant_units
        drain = Signal(self.drain_layout)
        width = Signal.like(self.width)
        column = Signal.like(self.width)
        row = Signal.like(self.height)
        group = Signal.like(drain.groups)
        lane = Signal.like(drain.lane)
        channel = Signal.like(self.channel_address)
        position_address = Signal.like(drain.address)
        address = Signal.like(drain.address)
        reading = Signal()
        timer = Signal(range(max(config.array_latency, config.requant_latency) + 1))

        end_of_position = Signal()
        last = Signal()
        m.d.comb += [
            end_of_position.eq(group == drain.groups),
            last.eq(end_of_position & (column == 1) & (row == 1)),
        ]
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.idle.eq(1)
                m.d.sync += timer.eq(config.array_latency - 2)
                with m.If(self.start):
                    m.d.sync += [
                        drain.eq(self.drain),
                        self.read_bank.eq(self.bank),
                        self.read_position.eq(0),
                        channel.eq(self.drain.channels),
                        width.eq(self.width),
                        column.eq(self.width),
                        row.eq(self.height),
                        group.eq(0),
                        lane.eq(self.drain.lane),
                        position_address.eq(self.drain.address),
                        address.eq(self.drain.address),
                    ]
                    m.next = "SETTLE"
            with m.State("SETTLE"):
                m.d.sync += timer.eq(timer - 1)
                with m.If(timer == 0):
                    m.next = "READ"
            with m.State("READ"):
                m.d.comb += reading.eq(1)
                m.d.sync += timer.eq(config.requant_latency - 1)
                with m.If(end_of_position):
                    step = Mux(column == 1, drain.row_step, 1)
                    m.d.sync += [
                        group.eq(0),
                        lane.eq(drain.lane),
                        channel.eq(drain.channels),
                        self.read_position.eq(self.read_position + 1),
                        position_address.eq(position_address + step),
                        address.eq(position_address + step),
                        column.eq(Mux(column == 1, width, column - 1)),
                    ]
                    with m.If(column == 1):
                        m.d.sync += row.eq(row - 1)
                with m.Else():
                    next_lane = Signal.like(lane)
                    m.d.comb += next_lane.eq(lane + units)
                    m.d.sync += [
                        group.eq(group + 1),
                        lane.eq(next_lane),
                        channel.eq(channel + 1),
                    ]
                    with m.If(next_lane == 0):
                        m.d.sync += address.eq(address + drain.plane)
                with m.If(last):
                    m.next = "FLUSH"
            with m.State("FLUSH"):
                m.d.sync += timer.eq(timer - 1)
                with m.If(timer == 0):
                    m.next = "IDLE"

        # Read data stand one cycle after the read and are registered, since block RAMs are slow; the picked columns
        # stand one cycle later, with their channel.
        enable = Signal(config.rows)
        m.d.comb += enable.eq(Mux(reading, ((1 << units) - 1) << lane, 0))
        write_enable, write_address, picked_group = enable, address, group
        for n in range(config.requant_latency - 1):
            write_enable = self._register(m, write_enable, f"enable{n}")
            write_address = self._register(m, write_address, f"address{n}")
            if n < 2:
                picked_group = self._register(m, picked_group, f"picked_group{n}")
        m.d.comb += [self.write_enable.eq(write_enable), self.write_address.eq(write_address)]

        groups = config.cols // units
        channels = Signal(self.channel_line, reset_less=True)
        line = Signal.like(self.read_data, reset_less=True)
        m.d.sync += [channels.eq(self.channel_data), line.eq(self.read_data), self.channel_address.eq(channel)]
        for unit in range(units):
            columns = Array(line[g * units + unit] for g in range(groups))
            acc = Signal(signed(config.acc_width), name=f"acc{unit}", reset_less=True)
            m.d.sync += acc.eq(columns[picked_group])
            m.submodules[f"unit{unit}"] = requant = RequantUnit(config)
            m.d.comb += [
                requant.acc.eq(acc),
                requant.channel.eq(channels[unit]),
                requant.low.eq(drain.low),
                requant.high.eq(drain.high),
            ]
            for lane_index in range(unit, config.rows, units):
                m.d.comb += self.write_data[lane_index].eq(requant.activation)
        return m

    def _register(self, m, value, name):
        register = Signal(len(value), name=name)
        m.d.sync += register.eq(value)
        return register
