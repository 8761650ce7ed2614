"""The processing element: an operand times a word, by selection of constant shifts."""

from amaranth import Cat, Const, Module, Mux, Signal, Value, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from twofold.golden.config import ArrayConfig
from twofold.hdl.layouts import word_layout


class ProcessingElement(wiring.Component):
    """Multiplies by a word without a multiplier: XORs, a selection a term, an adder where there are two; combinational.

    The sign decides between the operand and its one's complement, and terms give all ones less what they select (that
    is what inverting gates give). So a product is unsigned, and holds a constant that depends on the word alone
    (`ArrayConfig.product_base`): the compiler takes it off the bias.

    Parameters
    ----------
    config
        The build.

    Members
    -------
    operand : In(unsigned(act_bits))
        In activation LSBs.
    word : In(word_layout)
        Select of each term, and sign.
    product : Out(unsigned(product_bits))
        ``product_max - level * operand`` where the sign is set, else ``product_max - level * (operand_max - operand)``.

    Source: [STLQ] (one term), [SubsetQ] figure 4 (two terms).
    """

    def __init__(self, config: ArrayConfig):
        self.config = config
        super().__init__(
            {
                "operand": In(unsigned(config.act_bits)),
                "word": In(word_layout(config)),
                "product": Out(unsigned(config.product_bits)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        menus, gates = self.config.fmt.menus, self.config.select == "and_or"
        sign, factor = self.word.sign, Signal.like(self.operand)
        if gates:
            m.d.comb += factor.eq(_either(self.operand, ~self.operand, sign, ~sign))
        else:
            m.d.comb += factor.eq(self.operand ^ (~sign).replicate(len(factor)))
        product: Value = Const(0)
        for n, (menu, (begin, end)) in enumerate(zip(menus, self.config.term_spans, strict=True)):
            if begin == end:
                continue
            term = Signal(end - begin, name=f"term{n}")
            shifts = [None if shift is None else shift - begin for shift in menu]
            select = self.word[f"term{n}"]
            stages = len(shifts) > 4 and shifts == [*range(len(shifts) - 1), None]
            if gates and stages:
                self._gated_stages(m, term, sign, select, len(shifts) - 1)
            elif stages:
                self._barrel(m, term, factor, select, len(shifts) - 1)
            elif gates:
                gated = [
                    factor.shift_left(shift) & (select == pick).replicate(len(term))
                    for pick, shift in enumerate(shifts)
                    if shift is not None
                ]
                m.d.comb += term.eq(_any(gated))
            else:
                with m.Switch(select):
                    for pick, shift in enumerate(shifts):
                        with m.Case(pick):
                            m.d.comb += term.eq(0 if shift is None else factor.shift_left(shift))
            product = product + Cat(Const(0, begin), ~term) if begin else product + ~term
        m.d.comb += self.product.eq(product)
        return m

    def _gated_stages(self, m: Module, term: Signal, sign: Value, select: Value, off: int) -> None:
        """Factor shifted by the select, a stage a bit, each the complement of what it picks; select `off` is zero.

        An OR-AND gate can give 0 for anything, so zero enters at the last stage but one, whose value must not be a
        complement. So the factor is one where the number of stages is even.
        """
        stages = (off - 1).bit_length()
        inverted = stages % 2 == 0
        value: Value = _either(self.operand, ~self.operand, *((~sign, sign) if inverted else (sign, ~sign)))
        for bit in range(stages):
            zero = select == off if bit == stages - 2 else Const(0, 1)
            stage = _shifted(value, 1 << bit, len(term), select[bit] | zero, ~select[bit] | zero, inverted)
            value, inverted = Signal(len(stage), name=f"stage{bit}"), not inverted
            m.d.comb += value.eq(stage)
        m.d.comb += term.eq(~value)

    @staticmethod
    def _barrel(m: Module, term: Signal, factor: Value, select: Value, off: int) -> None:
        """Shift by the select, a stage a bit; select `off` is zero, which the last stage gives."""
        value = factor
        for bit in range(len(select) - 1):
            value = Mux(select[bit], value.shift_left(1 << bit), value)
        width, zero = len(term), select == off
        top = (select[-1] & ~zero).replicate(width), (~select[-1] & ~zero).replicate(width)
        m.d.comb += term.eq(value.shift_left(1 << (len(select) - 1)) & top[0] | value & top[1])


def _any(values: list[Value]) -> Value:
    result = values[0]
    for value in values[1:]:
        result = result | value
    return result


def _either(one: Value, other: Value, not_one: Value, not_other: Value) -> Value:
    """The complement of one of two values; zero where it is to be neither. An OR-AND gate a bit (`synth.gates`)."""
    width = len(one)
    return ~((one | not_one.replicate(width)) & (other | not_other.replicate(width)))


def _shifted(value: Value, shift: int, most: int, not_kept: Value, not_moved: Value, inverted: bool) -> Value:
    """The complement of a value, as it is or shifted left, at most `most` bits; zeros come in from both sides.

    `inverted` says that the value is a complement itself, so that ones come in.
    """
    size, width = len(value), min(most, len(value) + shift)
    if inverted:
        low = ~(value[:shift] | not_kept.replicate(min(shift, size)))
        high = ~(value | not_moved.replicate(size))
    else:
        low = ~(value[:shift] & (~not_kept).replicate(min(shift, size)))
        high = ~(value & (~not_moved).replicate(size))
    gap = Const(0 if inverted else (1 << max(shift - size, 0)) - 1, max(shift - size, 0))
    both = _either(value[shift:], value[: max(size - shift, 0)], not_kept, not_moved)
    return Cat(low, gap, both, high[max(size - shift, 0) :])[:width]
