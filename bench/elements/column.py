"""Columns of the array with other elements in the place of the PEs."""

from collections.abc import Callable

from amaranth import unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from twofold.golden.config import ArrayConfig
from twofold.hdl.column import Column
from twofold.hdl.copies import copies


class ElementColumn(Column):
    """The column of `hdl.column.Column` around elements of another kind: same words, adder tree and registers.

    Parameters
    ----------
    config
        The build.
    make
        Makes an element; it has the members of `hdl.pe.ProcessingElement`, of any shape.

    Members
    -------
    Those of a column; operands and words have the elements' shapes, and the sum holds the sum of their products.
    """

    def __init__(self, config: ArrayConfig, make: Callable[[], wiring.Component]):
        self.config = config
        self.elements = copies("pe", make, config.rows)
        members = self.elements[0].signature.members
        self.words_layout = data.ArrayLayout(members["word"].shape, config.rows)
        self.operands_layout = data.ArrayLayout(members["operand"].shape, config.rows)
        most = (1 << members["product"].shape.width) - 1
        wiring.Component.__init__(
            self,
            {
                "load": In(1),
                "words": In(self.words_layout),
                "swap": In(1),
                "operands": In(self.operands_layout),
                "sum": Out(unsigned((config.rows * most).bit_length())),
            },
        )
