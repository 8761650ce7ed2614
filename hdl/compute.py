"""The compute path: window addresses, feature lines, array, accumulators, and the tags that keep them in step."""

from amaranth import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from twofold.golden.config import ArrayConfig
from twofold.golden.isa import Pass, Window
from twofold.hdl.accumulators import Accumulators
from twofold.hdl.array import PeArray
from twofold.hdl.interfaces import accumulator_port, read_port
from twofold.hdl.layouts import activations_layout, line_words_layout, record_layout, tag_layout
from twofold.hdl.operands import Operands
from twofold.hdl.window import WindowGenerator


class Compute(wiring.Component):
    """Executes passes: streams a chunk's positions past the loaded tile and adds into the current bank.

    A pass taken in cycle a issues its first position in cycle a + 1, one a cycle; the position's sums can be
    read from the accumulators ``array_latency`` cycles after its issue.

    Parameters
    ----------
    config
        The build.

    Members
    -------
    start : In(stream of {window, pass, bank})
        A pass whose tile stands when its first position does, or is kept: geometry, operands, accumulator bank.
    load : In(load_groups), words : In(line_words_layout)
        Words for the shadow of the group of columns whose bit is set.
    feature : Out(`read_port`)
        Reads feature memory.
    accumulators : In(`accumulator_port`)
        The accumulators, for the requantiser.
    """

    def __init__(self, config: ArrayConfig):
        self.config = config
        self.pass_layout = record_layout(Pass.record(config))
        self.start_layout = data.StructLayout(
            {"window": record_layout(Window.record(config)), "pass": self.pass_layout, "bank": 1}
        )
        super().__init__(
            {
                "start": In(stream.Signature(self.start_layout)),
                "load": In(config.load_groups),
                "words": In(line_words_layout(config)),
                "feature": Out(read_port(range(config.feature_depth), activations_layout(config))),
                "accumulators": In(accumulator_port(config)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        m.submodules.window = window = WindowGenerator(config)
        m.submodules.operands = operands = Operands(config)
        m.submodules.array = array = PeArray(config)
        m.submodules.accumulators = accumulators = Accumulators(config)

        taken = self.start.payload["pass"]
        m.d.comb += [
            window.start.valid.eq(self.start.valid),
            self.start.ready.eq(window.start.ready),
            window.start.payload.window.eq(self.start.payload.window),
            window.start.payload.address.eq(taken.address),
            window.start.payload.x.eq(taken.x),
            window.start.payload.y.eq(taken.y),
            window.start.payload.chain.eq(taken.chain),
            self.feature.address.eq(window.address),
        ]
        current = Signal(self.pass_layout)
        bank = Signal()
        with m.If(self.start.valid & self.start.ready):
            m.d.sync += [current.eq(taken), bank.eq(self.start.payload.bank)]

        issued = Signal(tag_layout(config))
        m.d.comb += [
            issued.valid.eq(window.valid),
            issued.outside.eq(window.outside),
            issued.position.eq(window.position),
            issued.shift.eq(current.shift),
            issued.first.eq(current.first),
            issued.maximum.eq(current.maximum),
            issued.bank.eq(bank),
            issued.col_mask.eq(current.col_mask),
        ]
        tags = [issued]
        for n in range(2 + config.tree_stages):
            tags.append(Signal(tag_layout(config), name=f"tag{n + 1}"))
            m.d.sync += tags[-1].eq(tags[-2])
        if config.narrow_reads:
            kept, clipped = narrow_masks(current.drop, current.clip, current.signed, config.act_bits)
            m.d.sync += [operands.kept.eq(kept), operands.clipped.eq(clipped)]
        live = Signal(config.rows)
        is_signed = Signal()
        chain = Signal()
        swap = Signal()
        m.d.sync += [
            live.eq(Mux(window.outside, 0, current.row_mask)),
            is_signed.eq(current.signed),
            chain.eq(current.chain),
            swap.eq(window.first & ~current.kept),
        ]
        m.d.comb += [
            operands.line.eq(self.feature.line),
            operands.live.eq(live),
            operands.is_signed.eq(is_signed),
            operands.chain.eq(chain),
            array.operands.eq(operands.operands),
            array.once.eq(operands.once),
            array.twice.eq(operands.twice),
            array.line_load.eq(self.load),
            array.line_words.eq(self.words),
            array.swap.eq(swap),
            accumulators.tag.eq(tags[-1]),
            accumulators.sums.eq(array.sums),
        ]
        connect(m, flipped(self.accumulators), accumulators.read)
        return m


def narrow_masks(drop: Value, clip: Value, is_signed: Value, width: int) -> tuple[Value, Value]:
    """`Operands.kept` and `Operands.clipped` of operands of so many bits, for those fields of a pass."""
    top = width - 1
    kept = Cat(*(drop <= bit for bit in range(width)))
    clipped = Cat(*(Mux(is_signed, bit < top, 1) & (clip > top - bit - is_signed) for bit in range(width)))
    return kept, clipped
