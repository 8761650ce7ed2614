"""The line writer: collects a feature line's activations group by group and writes the line once."""

from amaranth import Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from twofold.golden.config import ArrayConfig, bits_for
from twofold.hdl.interfaces import feature_writes
from twofold.hdl.layouts import activations_layout


class LineWriter(wiring.Component):
    """Takes a group of `requant_units` activations a cycle; a line is written in the cycle after its last group.

    Only the lanes that came since the line before are written.

    Parameters
    ----------
    config
        The build.

    Members
    -------
    valid : In(1)
        A group is there.
    place : In(range(rows / requant_units))
        Which lanes of the line it is for.
    last : In(1)
        It is the line's last.
    address : In(range(feature_depth))
        The line; looked at with the last group.
    activations : In(array of act_bits, one a unit)
        The group.
    write : Out(`feature_writes`)
        The line.
    writing : Out(1)
        A line is written.
    """

    def __init__(self, config: ArrayConfig):
        self.config = config
        super().__init__(
            {
                "valid": In(1),
                "place": In(bits_for(config.rows // config.requant_units)),
                "last": In(1),
                "address": In(range(config.feature_depth)),
                "activations": In(data.ArrayLayout(config.act_bits, config.requant_units)),
                "write": Out(feature_writes(config)),
                "writing": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        units = self.config.requant_units
        places = self.config.rows // units
        line = Signal(activations_layout(self.config), reset_less=True)
        line_address = Signal.like(self.address, reset_less=True)
        filled = Signal(places)
        m.d.sync += [
            self.writing.eq(self.valid & self.last),
            line_address.eq(self.address),
            filled.eq(Mux(self.writing, 0, filled) | Mux(self.valid, 1 << self.place, 0)),
        ]
        for place in range(places):
            with m.If(self.valid & (self.place == place)):
                m.d.sync += [line[place * units + unit].eq(self.activations[unit]) for unit in range(units)]
        m.d.comb += [self.write.address.eq(line_address), self.write.data.eq(line)]
        for place in range(places):
            enable = self.write.enable.word_select(place, units)
            m.d.comb += enable.eq((filled[place] & self.writing).replicate(units))
        return m
