"""From a feature line to the array's operands: masked, zero outside the map, signed ones raised."""

from amaranth import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from twofold.golden.config import ArrayConfig
from twofold.hdl.layouts import activations_layout, operands_layout


class Operands(wiring.Component):
    """Operands of a feature line, one cycle later.

    Parameters
    ----------
    config
        The build.

    Members
    -------
    line : In(array of act_bits, one a row)
        Feature line.
    outside : In(1)
        The position lies outside the input map: every lane is zero.
    row_mask : In(rows)
        Lanes not set are zero.
    is_signed : In(1)
        Activations are two's complement.
    operands : Out(array of unsigned(act_bits), one a row)
        In activation LSBs; raised by `ArrayConfig.operand_offset` where signed.
    """

    def __init__(self, config: ArrayConfig):
        self.config = config
        super().__init__(
            {
                "line": In(activations_layout(config)),
                "outside": In(1),
                "row_mask": In(config.rows),
                "is_signed": In(1),
                "operands": Out(operands_layout(config)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        operands = Signal(operands_layout(self.config), reset_less=True)
        m.d.comb += self.operands.eq(operands)
        for row in range(self.config.rows):
            value = Mux(self.row_mask[row] & ~self.outside, self.line[row], 0)
            m.d.sync += operands[row].eq(value ^ Mux(self.is_signed, self.config.operand_offset, 0))
        return m
