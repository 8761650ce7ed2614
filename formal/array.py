"""Products are weight times operand, and columns add them exactly."""

from collections.abc import Callable
from typing import ClassVar

from amaranth import Cat, Const, Module, Mux, Signal, Value, signed

from twofold.formal.checker import Checker
from twofold.formal.faults import Fault


class Product(Checker):
    """``weight * operand + product_base(word)`` in integers, for every operand and every word that a decoder gives.

    A select beyond its menu, which a host could load into a point set, counts as "off" where terms are two.
    """

    name = "PE: product = weight x operand + the word's constant"
    component = "pe"
    builds = "selects"
    short = ("log_8x8", "subset_8x8", "log 4-bit asymmetric", "subset 4-bit set 4")
    clocked = False
    faults = (
        Fault("pe", "sign, factor = self.word.sign,", "sign, factor = ~self.word.sign,", "product"),
        Fault("pe", "if begin else product + ~term", "if begin else product + term", "product"),
    )

    def specify(self, m: Module) -> None:
        config, dut = self.config, self.dut
        terms = []
        for n, menu in enumerate(config.fmt.menus):
            level = Signal(16, name=f"level{n}")
            for pick, shift in enumerate(menu):
                with m.If(dut.word[f"term{n}"] == pick):
                    m.d.comb += level.eq(0 if shift is None else 1 << shift)
            terms.append(level)
            if len(config.fmt.menus) == 1:
                self.assume(dut.word[f"term{n}"] < len(menu))
        weight, base = Signal(signed(18)), Signal(signed(32))
        level = sum(terms[1:], terms[0])
        m.d.comb += [
            weight.eq(Mux(dut.word.sign, -level, level)),
            base.eq(config.product_max - Mux(dut.word.sign, 0, level * config.operand_max)),
        ]
        self.require(product=dut.product == weight * dut.operand + base)


class OperandsOfLine(Checker):
    """Operands are the line's activations, raised where signed; lanes that are not live carry a 0.

    The two beside them are the same in a pass without `chain`, and else the operands of one row further up a cycle
    before, and of two rows further up two cycles before: for a line whose line before was one of a chain, too.

    In builds with narrow reads an activation is first clipped to what has so many high bits less, and then so many low
    bits of it are zeros, whatever the two numbers are.
    """

    name = "operands: activation, the bits read, masked or not, signed, chain"
    component = "operands"
    short = ("log_4x4", "log_4x4 with narrow reads")
    fault_build: ClassVar = {"narrow_reads": True}
    faults = (
        Fault("operands", "Mux(beyond, ~rest, bit)", "bit", "operand"),
        Fault("operands", "self.is_signed & ~operand[-1]", "self.is_signed & operand[-1]", "operand"),
        Fault("operands", "kept & Mux(clipped", "Mux(clipped", "operand"),
        Fault("operands", "Mux(self.live[row], line, offset)", "line", "operand"),
        Fault("operands", "Mux(self.is_signed, ", "Mux(~self.is_signed, ", "operand"),
        Fault("operands", "Mux(self.chain, early[row - 1], line)", "Mux(self.chain, early[row], line)", "once"),
        Fault("operands", "(twice, once)", "(twice, operands)", "twice"),
        Fault("operands", "with m.If(~self.chain & ~self.live[row]):", "with m.If(0):", "twice"),
    )

    def specify(self, m: Module) -> None:
        config, dut = self.config, self.dut
        right = []
        read = self._reads(m) if config.narrow_reads else lambda value: value
        for lane in range(config.rows):
            line = dut.line[lane]
            activation = Signal(signed(config.act_bits + 1), name=f"activation{lane}")
            value = Signal(signed(config.act_bits + 1), name=f"value{lane}")
            m.d.comb += [
                value.eq(Mux(dut.is_signed, line.as_signed(), line)),
                activation.eq(Mux(dut.live[lane], read(value), 0)),
            ]
            raised = activation + Mux(dut.is_signed, config.operand_offset, 0)
            right.append(dut.operands[lane] == self.past(m, raised, f"operand{lane}"))
        self.require(operand=~self.running | Cat(right).all())
        chain = self.past(m, dut.chain, "chain")
        lanes = [dut.operands[lane] for lane in range(config.rows)]
        once = [self.past(m, dut.operands[lane - 1], f"once{lane}") for lane in range(config.rows)]
        before = [self.past(m, dut.operands[lane - 2], f"before{lane}") for lane in range(config.rows)]
        twice = [self.past(m, value, f"twice{lane}") for lane, value in enumerate(before)]
        both = chain & self.past(m, chain & self.running, "chain_before")
        self.require(
            once=~self.running | (dut.once.as_value() == Mux(chain, Cat(once), Cat(lanes))),
            twice=~self.running | (chain & ~both) | (dut.twice.as_value() == Mux(chain, Cat(twice), Cat(lanes))),
        )

    def _reads(self, m: Module) -> Callable[[Value], Value]:
        """What is read of an activation, for any numbers of bits left out."""
        config, dut = self.config, self.dut
        bits, ones = config.act_bits, Const((1 << config.act_bits) - 1, config.act_bits)
        drop, clip = (Signal(range(bits), name=f"free_{name}") for name in ("drop", "clip"))
        self.inputs |= {"free_drop": drop, "free_clip": clip}
        self.assume((drop < bits) & (clip < bits))
        self.assume(dut.kept == (ones << drop)[:bits])
        self.assume(dut.clipped == ((ones & ~(ones >> clip)) >> dut.is_signed)[:bits])

        def read(value: Value) -> Value:
            most = Signal(signed(bits + 2))
            least = Signal(signed(bits + 2))
            clipped = Signal(signed(bits + 1))
            m.d.comb += [
                most.eq((Const(1 << bits) >> (clip + dut.is_signed)) - 1),
                least.eq(Mux(dut.is_signed, -most - 1, 0)),
                clipped.eq(Mux(value > most, most, Mux(value < least, least, value))),
            ]
            return (clipped >> drop) << drop

        return read


class ColumnSum(Checker):
    """PEs get their lanes' operands and the words loaded before the last swap; the tree adds all products exactly.

    The sum is compared with integer sums of products, which `Product` is about, register by register of the tree.
    """

    name = "column: exact sum of the products of its lanes"
    component = "column"
    builds = "formats"
    short = ("log_8x8", "subset_4x4")
    fault_depth = 8
    faults = (
        Fault("column", "values[i] + values[i + 1]", "values[i] + values[i]", "sum"),
        Fault("column", "pe.word.eq(active[row])", "pe.word.eq(shadow[row])", "word"),
        Fault("column", "pe.operand.eq(self.operands[row])", "pe.operand.eq(self.operands[0])", "operand"),
    )

    def specify(self, m: Module) -> None:
        config, dut = self.config, self.dut
        size = len(dut.words.as_value())
        wanted, next_words = Signal(size, reset_less=True), Signal(size, reset_less=True)
        loaded, active = Signal(), Signal()
        with m.If(dut.load):
            m.d.sync += [next_words.eq(dut.words), loaded.eq(1)]
        with m.If(dut.swap):
            m.d.sync += [wanted.eq(next_words), active.eq(loaded)]
        words, operands, values = [], [], []
        for row in range(config.rows):
            words.append(self.peek(f"pe{row}.word", size // config.rows))
            operands.append(self.peek(f"pe{row}.operand", config.act_bits))
            values.append(self.peek(f"pe{row}.product", config.product_bits))
        self.require(
            operand=Cat(operands) == dut.operands.as_value(),
            shadow=~loaded | (self.peek("shadow", size) == next_words),
            active=~active | (self.peek("active", size) == wanted),
            word=~active | (Cat(words) == wanted),
        )
        level, right = 0, []
        while len(values) > 1:
            step = min(config.tree_step, (len(values) - 1).bit_length())
            level += step
            sums = [sum(values[i + 1 : i + (1 << step)], values[i]) for i in range(0, len(values), 1 << step)]
            before = [self.past(m, value, f"sum{level}_{i}") for i, value in enumerate(sums)]
            most = (config.product_max << level).bit_length()
            values = [self.peek(f"sum{level}_{i}", most) for i in range(len(sums))]
            for i, (value, sum_before) in enumerate(zip(values, before, strict=True)):
                right.append(value == sum_before)
                self.require((), **{f"sum{level}_{i}": ~self.running | (value == sum_before)})
        self.require((f"sum{level}_0",), sum=~self.running | ((dut.sum == values[0]) & (values[0] == before[0])))


class ArraySums(Checker):
    """Every column gets its operands, the swap, its words where its group's load bit is set, and gives its own sum.

    Its operands are the line's, but in the two rows below each of the lanes of its number (modulo the smaller of rows
    and columns), where they are those of a chain.
    """

    name = "array: its columns"
    component = "array"
    fault_depth = 3
    faults = (
        Fault("array", "self.line_load[col // self.config.load_columns]", "self.line_load[0]", "load"),
        Fault("array", "self.config.delay(row, col)", "self.config.delay(row, 0)", "operands"),
    )

    def specify(self, m: Module) -> None:
        config, dut = self.config, self.dut
        columns, least = range(config.cols), min(config.rows, config.cols)
        given = {0: dut.operands, 1: dut.once, 2: dut.twice}
        wanted = {
            "load": [dut.line_load[col // config.load_columns] for col in columns],
            "words": [dut.line_words[col % config.load_columns].as_value() for col in columns],
            "swap": [dut.swap] * config.cols,
            "operands": [
                Cat(given.get((row - col) % least, dut.operands)[row] for row in range(config.rows)) for col in columns
            ],
        }
        for name, values in wanted.items():
            got = [self.peek(f"column{col}.{name}", len(value)) == value for col, value in enumerate(values)]
            self.require((), **{name: Cat(got).all()})
        sums = Cat(self.peek(f"column{col}.sum", config.sum_bits) for col in range(config.cols))
        self.require((), sums=dut.sums.as_value() == sums)


PROPERTIES: tuple[type[Checker], ...] = (Product, OperandsOfLine, ColumnSum, ArraySums)
