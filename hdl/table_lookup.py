"""Tables of pointwise functions behind the requantiser's units, in builds that have them."""

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from twofold.golden.config import ArrayConfig, bits_for
from twofold.hdl.interfaces import table_writes


class TableLookup(wiring.Component):
    """Replaces values by entries of a table, or passes their low bits on; one cycle later.

    Every unit has a copy of all tables, since each asks with a value of its own.

    Parameters
    ----------
    config
        The build, with one table or more.

    Members
    -------
    entries : In(`table_writes`)
        Fills all copies; entry ``table * 2**table_bits + index``, the index being the value's low bits.
    on : In(1)
        Look up; constant while a chunk is drained.
    number : In(range(tables))
        The table; constant likewise.
    values : In(array of value_bits, one a unit)
        What the units give.
    activations : Out(array of act_bits, one a unit)
        Of the values of the cycle before.
    """

    def __init__(self, config: ArrayConfig):
        self.config = config
        super().__init__(
            {
                "entries": In(table_writes(config)),
                "on": In(1),
                "number": In(bits_for(config.tables)),
                "values": In(data.ArrayLayout(config.value_bits, config.requant_units)),
                "activations": Out(data.ArrayLayout(config.act_bits, config.requant_units)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        for unit in range(config.requant_units):
            m.submodules[f"copy{unit}"] = memory = Memory(shape=config.act_bits, depth=config.table_lines, init=[])
            write, read = memory.write_port(), memory.read_port()
            plain = Signal(config.act_bits, name=f"plain{unit}", reset_less=True)
            value = self.values[unit]
            m.d.sync += plain.eq(value)
            m.d.comb += [
                write.en.eq(self.entries.enable),
                write.addr.eq(self.entries.address),
                write.data.eq(self.entries.data),
                read.addr.eq(Cat(value[: config.table_bits], self.number)),
                self.activations[unit].eq(Mux(self.on, read.data, plain)),
            ]
        return m
