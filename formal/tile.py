"""A tile that is kept: its words stay when the array is told to take what was loaded, and nothing was."""

from amaranth import Cat, Module, Signal

from twofold.formal.checker import Checker
from twofold.formal.faults import Fault


class KeptTile(Checker):
    """After a swap with nothing loaded since the swap before, every PE has the word that it had.

    That nothing is loaded between two passes of which the second keeps the tile, `sequencer.TileLoad` proves.
    """

    name = "column: a swap with nothing loaded since the one before keeps every word"
    component = "column"
    short = ("log_4x4",)
    faults = (
        Fault("column", "with m.If(self.load):", "with m.If(self.load | self.swap):", "kept"),
        Fault("column", "m.d.sync += active.eq(shadow)", "m.d.sync += [active.eq(shadow), shadow.eq(active)]", "kept"),
    )

    def specify(self, m: Module) -> None:
        config, dut = self.config, self.dut
        size = len(dut.words.as_value())
        fresh = Signal(init=1)
        with m.If(dut.load):
            m.d.sync += fresh.eq(1)
        with m.Elif(dut.swap):
            m.d.sync += fresh.eq(0)
        words = Cat(self.peek(f"pe{row}.word", size // config.rows) for row in range(config.rows))
        kept = self.past(m, dut.swap & ~fresh, "kept") & self.running
        self.require(
            active=words == self.peek("active", size),
            shadow=fresh | (self.peek("shadow", size) == self.peeks["active"]),
            kept=~kept | (words == self.past(m, words, "words")),
        )


PROPERTIES: tuple[type[Checker], ...] = (KeptTile,)
