"""A tile that is kept: its words stay, whatever is loaded behind them."""

from amaranth import Cat, Module

from twofold.formal.checker import Checker
from twofold.formal.faults import Fault


class KeptTile(Checker):
    """Without a swap every PE has the word that it had, whatever is loaded meanwhile.

    That a pass which keeps the tile makes no swap, `compute.ComputeTags` proves.
    """

    name = "column: without a swap every word stays, whatever is loaded"
    component = "column"
    short = ("log_4x4",)
    faults = (
        Fault("column", "with m.If(self.swap):", "with m.If(self.swap | self.load):", "kept"),
        Fault("column", "pe.word.eq(active[row])", "pe.word.eq(shadow[row])", "kept"),
    )

    def specify(self, m: Module) -> None:
        config, dut = self.config, self.dut
        size = len(dut.words.as_value())
        words = Cat(self.peek(f"pe{row}.word", size // config.rows) for row in range(config.rows))
        kept = self.past(m, ~dut.swap, "kept") & self.running
        self.require(
            active=words == self.peek("active", size),
            kept=~kept | (words == self.past(m, words, "words")),
        )


PROPERTIES: tuple[type[Checker], ...] = (KeptTile,)
