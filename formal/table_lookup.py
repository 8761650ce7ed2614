"""Every unit of a requantiser with tables gives the entry of its value, or the value."""

from amaranth import Cat, Module, Mux, Signal

from twofold.formal.checker import Checker
from twofold.formal.faults import Fault
from twofold.formal.memories import Memory
from twofold.golden.config import ArrayConfig, bits_for


class TableEntries(Checker):
    """A cycle later: the entry that the value's low bits name in the table that is asked, or else the value itself.

    All copies hold what was written last; proven of any one entry, so of all.
    """

    name = "tables: every unit gives the entry of its value"
    component = "table_lookup"
    short = ("log_4x4 with tables",)
    cut_memories = True
    faults = (
        Fault("table_lookup", "Cat(value[: config.table_bits], self.number)", "value[: config.table_bits]", "asked"),
        Fault("table_lookup", "Mux(self.on, read.data, plain)", "read.data", "given"),
        Fault("table_lookup", "write.en.eq(self.entries.enable)", "write.en.eq(1)", "filled"),
    )

    @classmethod
    def applies(cls, config: ArrayConfig) -> bool:
        """Whether there are tables."""
        return config.tables > 0

    def specify(self, m: Module) -> None:
        config, dut = self.config, self.dut
        size = {"address_bits": bits_for(config.table_lines), "bits": config.act_bits}
        entry = self.inputs["free_entry"] = Signal(size["address_bits"], name="free_entry")
        line = self.inputs["free_line"] = Signal(config.act_bits, name="free_line")
        written = dut.entries.enable & (dut.entries.address == entry)
        asked, filled, given = [], [], []
        for unit in range(config.requant_units):
            memory = Memory(self, f"copy{unit}", **size, writers=1)
            value = dut.values.as_value().word_select(unit, config.value_bits)
            index = value[: config.table_bits]
            asked.append(memory.address == (dut.number << config.table_bits | index)[: size["address_bits"]])
            filled.append(memory.after(entry, line) == Mux(written, dut.entries.data, line))
            found = self.past(m, memory.line, f"found{unit}")
            plain = self.past(m, value[: config.act_bits], f"plain{unit}")
            activation = dut.activations.as_value().word_select(unit, config.act_bits)
            given.append(~self.running | (activation == Mux(dut.on, found, plain)))
        self.require(asked=Cat(asked).all(), filled=Cat(filled).all(), given=Cat(given).all())


PROPERTIES: tuple[type[Checker], ...] = (TableEntries,)
