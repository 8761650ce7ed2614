"""The line writer writes every lane that came, and no other, once."""

from amaranth import Module, Signal

from twofold.formal.checker import Checker
from twofold.formal.faults import Fault
from twofold.golden.config import bits_for


class WrittenLines(Checker):
    """In the cycle after a line's last group the lanes that came since the line before are written, as they came last.

    Nothing is written in any other cycle. Proven of any one lane, so of all.
    """

    name = "line writer: every lane that came is written once"
    component = "line_writer"
    short = ("log_4x4",)
    faults = (
        Fault("line_writer", "Mux(self.writing, 0, filled)", "filled", "enable"),
        Fault("line_writer", "Mux(self.valid, 1 << self.place, 0)", "1 << self.place", "enable"),
        Fault("line_writer", "self.valid & (self.place == place)", "self.place == place", "data"),
        Fault("line_writer", "self.writing.eq(self.valid & self.last)", "self.writing.eq(self.last)", "writing"),
        Fault("line_writer", "line_address.eq(self.address),", "line_address.eq(self.address + 1),", "address"),
    )

    def specify(self, m: Module) -> None:
        config, dut = self.config, self.dut
        units = config.requant_units
        lane = self.constant(m, "lane", bits_for(config.rows))
        self.assume(dut.place < config.rows // units)
        mine = dut.valid & (dut.place == lane // units)
        last = self.past(m, dut.valid & dut.last, "last") & self.running
        came, value = Signal(), Signal(config.act_bits, reset_less=True)
        m.d.sync += came.eq(mine | (came & ~last))
        with m.If(mine):
            m.d.sync += value.eq(dut.activations.as_value().word_select(lane % units, config.act_bits))
        filled = self.peek("filled", config.rows // units)
        self.require(
            writing=dut.writing == last,
            came=filled.bit_select(lane // units, 1) == came,
            enable=dut.write.enable.bit_select(lane, 1) == (last & came),
            data=~came | (dut.write.data.as_value().word_select(lane, config.act_bits) == value),
            address=~last | (dut.write.address == self.past(m, dut.address, "address")),
        )


PROPERTIES: tuple[type[Checker], ...] = (WrittenLines,)
