"""The processing element: an activation times a word, by multiplexers of constant shifts."""

from amaranth import Module, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from golden.config import ArrayConfig
from hdl.layouts import word_layout


class ProcessingElement(wiring.Component):
    """Multiplies by a word without a multiplier: one multiplexer a term, an adder where there are two, an XOR.

    The product is registered: it stands one cycle after its operands. A negative word gives the one's
    complement, that is the product minus one; the compiler adds the missing ones to the bias.

    Parameters
    ----------
    config
        The build.

    Members
    -------
    activation : In(signed(operand_bits))
        In activation LSBs.
    word : In(word_layout)
        Select of each term, and sign.
    product : Out(signed(product_bits))
        ``level * activation``, or ``-level * activation - 1`` where the sign is set.

    Source: paper 000 (one term), paper 003 figure 4 (two terms).
    """

    def __init__(self, config: ArrayConfig):
        self.config = config
        super().__init__(
            {
                "activation": In(signed(config.operand_bits)),
                "word": In(word_layout(config)),
                "product": Out(signed(config.product_bits)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        terms = []
        for n, menu in enumerate(self.config.fmt.menus):
            term = Signal.like(self.product, name=f"term{n}")
            with m.Switch(self.word[f"term{n}"]):
                for pick, shift in enumerate(menu):
                    with m.Case(pick):
                        m.d.comb += term.eq(0 if shift is None else self.activation.shift_left(shift))
            terms.append(term)
        level = Signal.like(self.product)
        m.d.comb += level.eq(sum(terms[1:], terms[0]))
        product = Signal(self.product.shape(), reset_less=True)
        m.d.sync += product.eq(level ^ self.word.sign.replicate(len(level)))
        m.d.comb += self.product.eq(product)
        return m
