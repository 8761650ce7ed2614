"""One output lane of the array: its tile words, double-buffered, its PEs and their adder tree."""

from amaranth import Module, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from golden.config import ArrayConfig
from hdl.layouts import operands_layout, word_layout
from hdl.pe import ProcessingElement


class Column(wiring.Component):
    """Dot product of the rows' activations with this column's words.

    The sum stands ``1 + tree_stages`` cycles after its activations. Words are loaded into a shadow
    and become the active ones in the cycle after `swap`, so that the next tile loads meanwhile.

    Parameters
    ----------
    config
        The build.

    Members
    -------
    load : In(1)
        Take `words` into the shadow.
    words : In(array of word_layout, one a row)
        The next tile's words of this column.
    swap : In(1)
        Make the shadow active.
    activations : In(array of signed(operand_bits), one a row)
        In activation LSBs.
    sum : Out(signed(sum_bits))
        Sum of the products.
    """

    def __init__(self, config: ArrayConfig):
        self.config = config
        super().__init__(
            {
                "load": In(1),
                "words": In(data.ArrayLayout(word_layout(config), config.rows)),
                "swap": In(1),
                "activations": In(operands_layout(config)),
                "sum": Out(signed(config.sum_bits)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        words = data.ArrayLayout(word_layout(self.config), self.config.rows)
        shadow = Signal(words, reset_less=True)
        active = Signal(words, reset_less=True)
        with m.If(self.load):
            m.d.sync += shadow.eq(self.words)
        with m.If(self.swap):
            m.d.sync += active.eq(shadow)

        values = []
        for row in range(self.config.rows):
            m.submodules[f"pe{row}"] = pe = ProcessingElement(self.config)
            m.d.comb += [pe.activation.eq(self.activations[row]), pe.word.eq(active[row])]
            values.append(pe.product)

        level = 0
        while len(values) > 1:
            level += 1
            values = [values[i] + values[i + 1] for i in range(0, len(values), 2)]
            if level % self.config.tree_step == 0 or len(values) == 1:
                registers = [
                    Signal(value.shape(), name=f"sum{level}_{i}", reset_less=True) for i, value in enumerate(values)
                ]
                m.d.sync += [register.eq(value) for register, value in zip(registers, values, strict=True)]
                values = registers
        m.d.comb += self.sum.eq(values[0])
        return m
