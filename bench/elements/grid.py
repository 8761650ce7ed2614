"""Columns side by side that see the same inputs, as an array's do, whatever they are columns of."""

from collections.abc import Callable

from amaranth import Module
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from twofold.hdl.copies import copies


class Grid(wiring.Component):
    """Columns that see the same inputs.

    Parameters
    ----------
    make
        Makes a column.
    cols
        How many.

    Members
    -------
    Those of a column; its outputs are arrays of `cols`.
    """

    def __init__(self, make: Callable[[], wiring.Component], cols: int):
        self.columns = copies("column", make, cols)
        self.outputs = []
        members: dict[str, wiring.Member] = {}
        for name, member in self.columns[0].signature.members.items():
            if member.flow is Out:
                self.outputs.append(name)
                members[name] = Out(data.ArrayLayout(member.shape, cols))
            else:
                members[name] = In(member.shape)
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        for col, column in enumerate(self.columns):
            m.submodules[f"column{col}"] = column
            for name in self.signature.members:
                if name in self.outputs:
                    m.d.comb += getattr(self, name)[col].eq(getattr(column, name))
                else:
                    m.d.comb += getattr(column, name).eq(getattr(self, name))
        return m
