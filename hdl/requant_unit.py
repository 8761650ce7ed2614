"""One unit of the requantiser: bias, multiplication by a few signed digits, skip, one rounding, clip."""

from amaranth import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from twofold.golden.config import ArrayConfig, bits_for
from twofold.golden.isa import SKIP_SHIFT_BITS, Channel
from twofold.hdl.layouts import record_layout

#: The skip is shifted by these low bits of its shift in one stage, by the others in the next.
FINE_BITS = 3


class RequantUnit(wiring.Component):
    """``clip(rne(((acc + bias) * sum(+-2**shift[n]) + (skip << place)) * 2**-right), low, high)``, by shifts and adds.

    ``place`` is the skip's shift plus the channel's right shift, modulo `ArrayConfig.skip_reach`. Takes one accumulator
    a cycle; the activation stands ``3 + digits`` cycles later, not registered.

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
    skip : In(signed(act_bits + 1))
        Activation of the skip; 0 where there is none.
    skip_shift : In(signed(SKIP_SHIFT_BITS))
        Its left shift; constant while a chunk is drained.
    low, high : In(signed(clip_bits))
        Clip bounds; constant likewise.
    activation : Out(value_bits)
        Two's complement where the bounds are negative. In a build with tables it may be what one is asked with.

    Source: docs/machine.md; rounding to nearest, ties to even, as torch.round.
    """

    def __init__(self, config: ArrayConfig):
        self.config = config
        self.channel_layout = record_layout(Channel.record(config))
        super().__init__(
            {
                "acc": In(signed(config.acc_width)),
                "channel": In(self.channel_layout),
                "skip": In(signed(config.act_bits + 1)),
                "skip_shift": In(signed(SKIP_SHIFT_BITS)),
                "low": In(signed(config.clip_bits)),
                "high": In(signed(config.clip_bits)),
                "activation": Out(config.value_bits),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        biased = Signal(signed(config.acc_width), reset_less=True)
        channel = Signal(self.channel_layout, reset_less=True)
        m.d.sync += [biased.eq(self.acc + self.channel.bias), channel.eq(self.channel)]

        total = self._skip(m)
        for n in range(config.digits):
            digit = Signal(signed(config.scaled_bits), name=f"digit{n}")
            after = Signal(signed(config.scaled_bits), name=f"total{n}", reset_less=True)
            minus, on = channel[f"minus{n}"], channel[f"on{n}"]
            shifted = (biased << channel[f"shift{n}"]) & on.replicate(config.scaled_bits).as_signed()
            m.d.comb += digit.eq(shifted ^ minus.replicate(config.scaled_bits).as_signed())
            m.d.sync += after.eq(total + digit + minus)
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
        m.d.comb += self.activation.eq(
            Mux(rounded < self.low, self.low, Mux(rounded > self.high, self.high, rounded))[: config.value_bits]
        )
        return m

    def _skip(self, m: Module) -> Signal:
        """The skip where it meets the first digit, in units of the scaled sum."""
        config = self.config
        place = Signal(bits_for(config.scaled_bits))
        fine = Signal(signed(len(self.skip) + (1 << FINE_BITS) - 1), reset_less=True)
        coarse = Signal(len(place) - FINE_BITS, reset_less=True)
        addend = Signal(signed(config.scaled_bits))
        m.d.comb += [place.eq(self.channel.right + self.skip_shift), addend.eq(fine << (coarse << FINE_BITS))]
        m.d.sync += [fine.eq(self.skip << place[:FINE_BITS]), coarse.eq(place[FINE_BITS:])]
        return addend

    def _delay(self, m: Module, n: int, biased: Value, channel: Value) -> tuple[Value, Value]:
        biased_next = Signal(biased.shape(), name=f"biased{n}", reset_less=True)
        channel_next = Signal(self.channel_layout, name=f"channel{n}", reset_less=True)
        m.d.sync += [biased_next.eq(biased), channel_next.eq(channel)]
        return biased_next, channel_next
