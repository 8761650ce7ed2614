"""From a feature line to the array's operands: the bits that are read, masked, signed ones raised; those of a chain."""

from amaranth import Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from twofold.golden.config import ArrayConfig
from twofold.hdl.layouts import activations_layout, operands_layout


class Operands(wiring.Component):
    """Operands of a feature line, one cycle later, and in a chain pass those of the two lines before beside them.

    Parameters
    ----------
    config
        The build.

    Members
    -------
    line : In(array of act_bits, one a row)
        Feature line.
    live : In(rows)
        Lanes not set are zero: those that are masked, and all where the position lies outside the input map.
    is_signed : In(1)
        Activations are two's complement.
    kept, clipped : In(act_bits), where `ArrayConfig.narrow_reads`
        Bits that are read, the others being zeros of the operand; and those that activations are clipped to be without
        (`hdl.compute.narrow_masks`).
    chain : In(1)
        The line is of a chain pass.
    operands : Out(array of unsigned(act_bits), one a row)
        In activation LSBs; raised by `ArrayConfig.operand_offset` where signed.
    once, twice : Out(the same)
        In a chain pass the operand that the row above had one cycle before, and the one two rows above two cycles
        before, rows counted modulo their number; else `operands`.
    """

    def __init__(self, config: ArrayConfig):
        self.config = config
        super().__init__(
            {
                "line": In(activations_layout(config)),
                "live": In(config.rows),
                "is_signed": In(1),
                "chain": In(1),
                **({"kept": In(config.act_bits), "clipped": In(config.act_bits)} if config.narrow_reads else {}),
                "operands": Out(operands_layout(config)),
                "once": Out(operands_layout(config)),
                "twice": Out(operands_layout(config)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        layout = operands_layout(self.config)
        operands, once, twice = (Signal(layout, name=name, reset_less=True) for name in ("operands", "once", "twice"))
        m.d.comb += [self.operands.eq(operands), self.once.eq(once), self.twice.eq(twice)]
        for row in range(self.config.rows):
            offset = Mux(self.is_signed, self.config.operand_offset, 0)
            line = self.line[row] ^ offset
            if self.config.narrow_reads:
                line = self._narrowed(line)
            m.d.sync += operands[row].eq(Mux(self.live[row], line, offset))
            for late, early in ((once, operands), (twice, once)):
                m.d.sync += late[row].eq(Mux(self.chain, early[row - 1], line))
                # As a register's reset it takes no look-up table.
                with m.If(~self.chain & ~self.live[row]):
                    m.d.sync += late[row].eq(offset)
        return m

    def _narrowed(self, operand: Value) -> Value:
        """The bits of an operand that are read."""
        # What the clipped bits of an operand within the range are: zeros, or the opposite of a sign.
        rest = self.is_signed & ~operand[-1]
        beyond = ((operand ^ rest.replicate(len(operand))) & self.clipped).any()
        bits = [
            kept & Mux(clipped, rest, Mux(beyond, ~rest, bit))
            for bit, kept, clipped in zip(operand, self.kept, self.clipped, strict=True)
        ]
        return Cat(*bits)
