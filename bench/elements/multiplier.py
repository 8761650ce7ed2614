"""A processing element that multiplies, for comparisons only: no build has it."""

from amaranth import Cat, Module, Signal, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from twofold.golden.config import ArrayConfig

FORMS = ("operator", "rows", "inverted rows")


class MultiplierElement(wiring.Component):
    """Multiplies by a two's complement weight; takes the place of `hdl.pe.ProcessingElement` in a column.

    Its product is unsigned and holds a constant like that element's: nothing but the multiplication differs.

    Parameters
    ----------
    config
        The build whose array it stands in.
    bits
        Width (bits) of the weight.
    form
        One of `FORMS`. ``operator``: the multiplication is the synthesiser's to build. ``rows``: an array
        multiplier, a row of gates and an adder for each bit of the weight, the row of the sign bit inverted.
        ``inverted rows``: the same with every other row inverted instead, since inverting gates are smaller.

    Members
    -------
    operand : In(unsigned(act_bits))
        In activation LSBs.
    word : In({weight})
        The weight; for inverted rows, with its sign bit inverted.
    product : Out(unsigned(act_bits + bits))
        ``weight * operand + base``; for inverted rows, ``base - weight * operand``.
    """

    def __init__(self, config: ArrayConfig, bits: int, form: str):
        self.config, self.bits, self.form = config, bits, form
        super().__init__(
            {
                "operand": In(unsigned(config.act_bits)),
                "word": In(data.StructLayout({"weight": signed(bits)})),
                "product": Out(unsigned(config.act_bits + bits)),
            }
        )

    @property
    def base(self) -> int:
        """The constant of every product."""
        most = self.config.operand_max
        if self.form == "inverted rows":
            return most * ((1 << (self.bits - 1)) - 1)
        return (most if self.form == "rows" else most + 1) << (self.bits - 1)

    def elaborate(self, platform):
        m = Module()
        weight = self.word.weight
        if self.form == "operator":
            product = Signal(signed(len(self.product)))
            m.d.comb += [product.eq(self.operand * weight), self.product.eq(Cat(product[:-1], ~product[-1]))]
            return m
        gates = [weight[bit].replicate(len(self.operand)) for bit in range(self.bits)]
        if self.form == "rows":
            rows = [self.operand & gate for gate in gates]
            rows[-1] = ~rows[-1]
        else:
            rows = [~(self.operand & gate) for gate in gates]
            rows[-1] = ~(~self.operand | gates[-1])
        done, rest = [], rows[0]
        for row in rows[1:]:
            done.append(rest[0])
            rest = rest[1:] + row
        m.d.comb += self.product.eq(Cat(*done, rest))
        return m
