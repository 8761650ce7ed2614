"""The decoder gives every code the word that the golden model gives it, for any point set that can be loaded."""

from amaranth import Array, Cat, Module, Mux, Signal, signed

from twofold.formal.checker import Checker
from twofold.formal.faults import Fault
from twofold.golden.catalog import log_points
from twofold.golden.config import ArrayConfig, bits_for
from twofold.hdl.layouts import row_layout


class LogDecoder(Checker):
    """Every lane's word, as the menu reads it, is the weight that `PointSet.values` gives its code."""

    name = "decoder: every code (log)"
    component = "decoder"
    builds = "formats"
    short = ("log_8x8", "log 4-bit asymmetric")
    clocked = False
    faults = (
        Fault("decoder", "Array(picks)[code.index]", "Array(picks)[self.codes[0].index]", "weights"),
        Fault("decoder", "word.sign.eq(code.sign)]", "word.sign.eq(0)]", "weights"),
    )

    @classmethod
    def applies(cls, config: ArrayConfig) -> bool:
        """Log PEs."""
        return config.pe == "log"

    def specify(self, m: Module) -> None:
        fmt = self.config.fmt
        levels = [0 if shift is None else 1 << shift for shift in fmt.menus[0]]
        values = log_points(fmt).values
        bits = signed((2 * max(levels)).bit_length() + 1)
        right = []
        for lane in range(self.config.load_columns * self.config.rows):
            word = self.dut.words[lane]
            weight, wanted = Signal(bits, name=f"weight{lane}"), Signal(bits, name=f"wanted{lane}")
            for pick, level in enumerate(levels):
                with m.If(word.term0 == pick):
                    m.d.comb += weight.eq(Mux(word.sign, -level, level))
            code = self.dut.codes[lane].as_value()
            for number, value in enumerate(values):
                with m.If(code == number):
                    m.d.comb += wanted.eq(value)
            right.append((weight == wanted) & (word.term0 < len(levels)))
        self.require(weights=Cat(right).all())


class SubsetDecoder(Checker):
    """Every lane's word is the row that was last loaded for its code's index in the chosen set, whatever the rows hold.

    Proven for any one set and index, so for all.
    """

    name = "decoder: every code of every loadable set (subset)"
    component = "decoder"
    builds = "formats"
    short = ("subset3_8x8",)
    faults = (
        Fault("decoder", "[self.codes[lane].index])", "[self.codes[0].index])", "terms"),
        Fault("decoder", "self.words[lane].sign.eq(self.codes[lane].sign)", "self.words[lane].sign.eq(0)", "sign"),
        Fault("decoder", "self.table.payload.line == line)", "self.table.payload.line[1:] == line >> 1)", "terms"),
    )

    @classmethod
    def applies(cls, config: ArrayConfig) -> bool:
        """Subset PEs."""
        return config.pe == "subset"

    def specify(self, m: Module) -> None:
        config, dut, fmt = self.config, self.dut, self.config.fmt
        row = row_layout(fmt)
        number = self.constant(m, "chosen_set", bits_for(config.sets))
        index = self.constant(m, "chosen_index", fmt.index_bits)
        line = Signal(bits_for(config.sets * fmt.point_count))
        m.d.comb += line.eq(number * fmt.point_count + index)
        self.assume(dut.set < config.sets)
        loaded = Signal(row.size)
        with m.If(dut.table.valid & dut.table.ready & (dut.table.payload.line == line)):
            m.d.sync += loaded.eq(dut.table.payload.row.as_value())
        table = Array(self.peek(f"row{n}", row.size) for n in range(config.sets * fmt.point_count))
        active = Array(self.peek(f"active{n}", row.size) for n in range(fmt.point_count))
        chosen = self.past(m, dut.set == number, "chosen") & self.running
        before = self.past(m, loaded, "loaded")
        terms, signs = [], []
        for lane in range(config.load_columns * config.rows):
            word, code = dut.words[lane], dut.codes[lane]
            found = Cat(word[term] for term in fmt.row_fields)
            terms.append(~(chosen & (code.index == index)) | (found == before))
            signs.append(word.sign == code.sign)
        self.require(
            ready=dut.table.ready,
            table=~(number < config.sets) | (table[line] == loaded),
            active=~(chosen & (number < config.sets)) | (active[index] == before),
            terms=~(number < config.sets) | Cat(terms).all(),
            sign=Cat(signs).all(),
        )


PROPERTIES: tuple[type[Checker], ...] = (SubsetDecoder, LogDecoder)
