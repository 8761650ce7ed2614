"""Partial sums: two banks, one that passes add into while the other is requantised."""

from functools import reduce
from itertools import pairwise
from operator import or_

from amaranth import Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In

from twofold.golden.config import ArrayConfig
from twofold.hdl.interfaces import accumulator_port
from twofold.hdl.layouts import accumulators_layout, sums_layout, tag_layout


class Accumulators(wiring.Component):
    """Read-modify-write of a position's accumulators, one position a cycle.

    A position may come again four cycles after it came (`ArrayConfig.min_pass`), and its result can be read from the
    fourth cycle on. A read of the other bank, for the requantiser, takes one cycle.

    Parameters
    ----------
    config
        The build.

    Members
    -------
    tag : In(tag_layout)
        What to do: position, bank, shift, whether the old value counts, sum or maximum, which columns.
    sums : In(array of unsigned(sum_bits), one a column)
        Column sums, shifted left by the tag's shift before they are used.
    read : In(`accumulator_port`)
        A bank and position to read; its accumulators stand in the cycle after.
    """

    def __init__(self, config: ArrayConfig):
        self.config = config
        super().__init__(
            {
                "tag": In(tag_layout(config)),
                "sums": In(sums_layout(config)),
                "read": In(accumulator_port(config)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        line = accumulators_layout(config)
        tags = [self.tag] + [Signal(tag_layout(config), name=f"tag{n}") for n in (1, 2, 3)]
        for before, after in pairwise(tags):
            m.d.sync += after.eq(before)

        reads, writes = [], []
        for bank in range(2):
            m.submodules[f"bank{bank}"] = memory = Memory(shape=line, depth=config.acc_depth, init=[])
            writes.append(memory.write_port(granularity=1))
            reads.append(memory.read_port())
            with m.If(self.tag.valid & (self.tag.bank == bank)):
                m.d.comb += reads[bank].addr.eq(self.tag.position)
            with m.Else():
                m.d.comb += reads[bank].addr.eq(self.read.position)
        read_bank = Signal()
        m.d.sync += read_bank.eq(self.read.bank)
        m.d.comb += self.read.line.eq(Mux(read_bank, reads[1].data.as_value(), reads[0].data.as_value()))

        # Decided a cycle before the memories answer: what is left after them is one AND-OR.
        takes = Signal(2)
        m.d.sync += [takes[bank].eq((self.tag.bank == bank) & ~self.tag.first) for bank in range(2)]

        shifted = Signal(line, reset_less=True)
        addend = Signal(line, reset_less=True)
        base = Signal(line, reset_less=True)
        result = Signal(line, reset_less=True)
        least = -(1 << (config.acc_width - 1))
        for col in range(config.cols):
            old = Signal(signed(config.acc_width), name=f"old{col}")
            kept = (reads[bank].data[col] & takes[bank].replicate(config.acc_width).as_signed() for bank in range(2))
            m.d.comb += old.eq(reduce(or_, kept))
            # The maximum shares the adder: base - addend tells which is larger.
            total = Signal(signed(config.acc_width + 1), name=f"total{col}")
            inverted = addend[col] ^ tags[2].maximum.replicate(config.acc_width).as_signed()
            m.d.comb += total.eq(base[col] + inverted + tags[2].maximum)
            m.d.sync += [
                shifted[col].eq(self.sums[col] << self.tag.shift),
                addend[col].eq(shifted[col]),
                base[col].eq(old | Mux(tags[1].first & tags[1].maximum, least, 0)),
                result[col].eq(Mux(tags[2].maximum, Mux(total[-1] & ~tags[2].outside, addend[col], base[col]), total)),
            ]
        for bank in range(2):
            m.d.comb += [
                writes[bank].addr.eq(tags[3].position),
                writes[bank].data.eq(result),
                writes[bank].en.eq(Mux(tags[3].valid & (tags[3].bank == bank), tags[3].col_mask, 0)),
            ]
        return m
