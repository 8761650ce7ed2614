"""From a feature line to the array's operands: masked, zero outside the map, sign-extended."""

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from golden.config import ArrayConfig
from hdl.layouts import activations_layout, operands_layout


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
    operands : Out(array of signed(operand_bits), one a row)
        In activation LSBs.
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

    def elaborate(self, platform):
        m = Module()
        operands = Signal(operands_layout(self.config), reset_less=True)
        m.d.comb += self.operands.eq(operands)
        for row in range(self.config.rows):
            value = self.line[row]
            operand = Cat(value, value[-1] & self.is_signed).as_signed()
            m.d.sync += operands[row].eq(Mux(self.row_mask[row] & ~self.outside, operand, 0))
        return m
