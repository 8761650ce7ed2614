"""A subset array of another kind: each row makes the products of every point once, and its PEs only pick one."""

from amaranth import Array, Cat, Const, Module, Signal, Value, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from twofold.golden.config import ArrayConfig
from twofold.hdl.layouts import code_layout, operands_layout, row_layout


class PickElement(wiring.Component):
    """One of a row's products, or its one's complement.

    Members
    -------
    operand : In(unsigned(points * product_bits))
        The products of the row, point 0 in the low bits.
    word : In(code_layout)
        Index of the point, and sign.
    product : Out(unsigned(product_bits))
        The product, or all ones less it where the sign is set.
    """

    def __init__(self, config: ArrayConfig):
        self.config = config
        super().__init__(
            {
                "operand": In(unsigned(config.fmt.point_count * config.product_bits)),
                "word": In(code_layout(config)),
                "product": Out(unsigned(config.product_bits)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        bits = self.config.product_bits
        picked: Value = Const(0)
        for index in range(self.config.fmt.point_count):
            chosen = (self.word.index == index).replicate(bits)
            picked = picked | self.operand[index * bits : (index + 1) * bits] & chosen
        m.d.comb += self.product.eq(picked ^ self.word.sign.replicate(bits))
        return m


class RowProducts(wiring.Component):
    """The products of every point with one operand.

    Members
    -------
    points : In(array of the decoder's rows)
        Selects of each term, one entry a point.
    operands : In(array of unsigned(act_bits))
        One a row.
    products : Out(array of unsigned(points * product_bits))
        One a row.
    """

    def __init__(self, config: ArrayConfig):
        self.config = config
        fmt = config.fmt
        super().__init__(
            {
                "points": In(data.ArrayLayout(row_layout(fmt), fmt.point_count)),
                "operands": In(operands_layout(config)),
                "products": Out(data.ArrayLayout(unsigned(fmt.point_count * config.product_bits), config.rows)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        fmt = self.config.fmt
        for row in range(self.config.rows):
            products = []
            for index in range(fmt.point_count):
                product = Signal(self.config.product_bits, name=f"product{row}_{index}")
                terms = [
                    Array(0 if shift is None else self.operands[row].shift_left(shift) for shift in menu)[
                        self.points[index][f"term{n}"]
                    ]
                    for n, menu in enumerate(fmt.menus)
                ]
                m.d.comb += product.eq(terms[0] + terms[1])
                products.append(product)
            m.d.comb += self.products[row].eq(Cat(*products))
        return m
