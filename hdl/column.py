"""One output lane of the array: its tile words, double-buffered, its PEs and their adder tree."""

from amaranth import Module, Signal, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from twofold.golden.config import ArrayConfig
from twofold.hdl.copies import copies
from twofold.hdl.pe import ProcessingElement


class Column(wiring.Component):
    """Dot product of the rows' activations with this column's words.

    The sum stands `tree_stages` cycles after its operands. Words are loaded into a shadow
    and become the active ones in the cycle after `swap`, so that the next tile loads meanwhile. The shadow keeps
    them.

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
    operands : In(array of unsigned(act_bits), one a row)
        In activation LSBs.
    sum : Out(unsigned(sum_bits))
        Sum of the products.
    """

    def __init__(self, config: ArrayConfig):
        self.config = config
        self.elements = copies("pe", lambda: ProcessingElement(config), config.rows)
        members = self.elements[0].signature.members
        self.words_layout = data.ArrayLayout(members["word"].shape, config.rows)
        self.operands_layout = data.ArrayLayout(members["operand"].shape, config.rows)
        super().__init__(
            {
                "load": In(1),
                "words": In(self.words_layout),
                "swap": In(1),
                "operands": In(self.operands_layout),
                "sum": Out(unsigned((config.rows * config.product_max).bit_length())),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        shadow = Signal(self.words_layout, reset_less=True)
        active = Signal(self.words_layout, reset_less=True)
        with m.If(self.load):
            m.d.sync += shadow.eq(self.words)
        with m.If(self.swap):
            m.d.sync += active.eq(shadow)

        values = []
        for row in range(self.config.rows):
            m.submodules[f"pe{row}"] = pe = self.elements[row]
            m.d.comb += [pe.operand.eq(self.operands[row]), pe.word.eq(active[row])]
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
