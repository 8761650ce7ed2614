"""The skip reader: the line of a skip at the place where a line is written, in time for its groups."""

from amaranth import Array, Cat, Module, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from twofold.golden.config import ArrayConfig, bits_for
from twofold.hdl.interfaces import skip_reads


class SkipReader(wiring.Component):
    """Reads a line in the cycle in which its first group is there, or in the next one if its port is taken.

    A group's activations stand three cycles after it. While `on`, a line has at least two cycles: `first` is never
    there in two cycles that follow each other, `address` stays in the one after, and the port is free in one of both.

    Parameters
    ----------
    config
        The build.

    Members
    -------
    on : In(1)
        There is a skip; constant while a chunk is drained. If not, all activations are 0.
    is_signed : In(1)
        Its activations are two's complement; constant likewise.
    first : In(1)
        A line begins.
    place : In(range(rows / requant_units))
        Which lanes of the line the group of this cycle is.
    taken : In(1)
        The port is taken.
    read : Out(`skip_reads`)
        Reads feature memory.
    activations : Out(array of signed(act_bits + 1), one a unit)
        Of the group of three cycles before.
    """

    def __init__(self, config: ArrayConfig):
        self.config = config
        super().__init__(
            {
                "on": In(1),
                "is_signed": In(1),
                "first": In(1),
                "place": In(bits_for(config.rows // config.requant_units)),
                "taken": In(1),
                "read": Out(skip_reads(config)),
                "activations": Out(data.ArrayLayout(signed(config.act_bits + 1), config.requant_units)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config, units = self.config, self.config.requant_units
        wanted, late = Signal(), Signal()
        m.d.comb += [wanted.eq(self.on & self.first), self.read.enable.eq((wanted | late) & ~self.taken)]
        m.d.sync += late.eq(wanted & self.taken)
        begun = Signal(2)
        line = Signal(config.feature_bits, reset_less=True)
        m.d.sync += begun.eq(Cat(wanted, begun[0]))
        with m.If(begun[1]):
            m.d.sync += line.eq(self.read.line.as_value())
        with m.If(~self.on):
            m.d.sync += line.eq(0)

        place = self.place
        for n in range(3):
            before, place = place, Signal.like(self.place, name=f"place{n}", reset_less=True)
            m.d.sync += place.eq(before)
        for unit in range(units):
            lanes = Array(line.word_select(lane, config.act_bits) for lane in range(unit, config.rows, units))
            raw = Signal(config.act_bits, name=f"raw{unit}")
            m.d.comb += [
                raw.eq(lanes[place]),
                self.activations[unit].eq(Cat(raw, raw[-1] & self.is_signed).as_signed()),
            ]
        return m
