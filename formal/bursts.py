"""The AXI4 master's rules: bursts, channels that keep what they offer, answers that are all taken."""

from amaranth import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring

from twofold.formal.checker import Checker
from twofold.formal.faults import Fault
from twofold.golden.config import ArrayConfig, bits_for
from twofold.golden.transfers import BURST_BEATS, OUTSTANDING
from twofold.hdl import bursts
from twofold.hdl.axi import beat_bits, page_bits

#: The builds of these proofs, and the one of the quick ones.
BUILDS, QUICK = "outside", ("log_4x4 outside, 32 bits",)


class BurstRuns(Checker):
    """Bursts cover each run's beats in order, once; never cross 4 KiB, never exceed 256 beats; all answers are counted.

    A run that is flushed keeps the burst that is offered. Bursts are offered without a pause.
    """

    name = "AXI4 bursts: every beat of every run once, in order, within 4 KiB; no deadlock"
    component = "bursts"
    builds = BUILDS
    short = QUICK
    faults = (
        Fault("bursts", "left.eq(left - room - 1)", "left.eq(left - room)", "length"),
        Fault("bursts", "whole.eq(left > room)", "whole.eq(left >= room)", "begun"),
        Fault("bursts", "address[BLOCK_BITS:] + 1", "address[BLOCK_BITS:]", "address"),
        Fault("bursts", "room.eq(~address[:BLOCK_BITS])", "room.eq(~0)", "page"),
        Fault("bursts", "with m.If(self.burst.ready):", "with m.If(1):", "stays"),
        Fault("bursts", "(~self.burst.valid | self.burst.ready)", "1", "stays"),
        Fault("bursts", "waiting + step - self.ended", "waiting + step", "waiting"),
        Fault("bursts", "with m.If(self.flush):", "with m.If(0):", "begun"),
    )

    @classmethod
    def make(cls, config: ArrayConfig) -> wiring.Component:
        """The component, which is a part of others."""
        return bursts.Bursts(config)

    def specify(self, m: Module) -> None:
        config, dut = self.config, self.dut
        bits = beat_bits(config)
        given, burst = dut.command.payload, dut.burst.payload
        taken, moved = dut.command.valid & dut.command.ready, dut.burst.valid & dut.burst.ready
        #: The run whose bursts are offered, and the one behind it: next beat, beats left.
        at, behind = (Signal(bits, name=name, reset_less=True) for name in ("at", "behind"))
        left, more = Signal(bits + 1, name="beats_left"), Signal(bits + 1, name="beats_behind")
        size = Signal(bits_for(BURST_BEATS + 1))
        m.d.comb += size.eq(burst.length + 1)
        rest = Signal(bits + 1)
        m.d.comb += rest.eq(
            Mux(dut.flush, Mux(dut.burst.valid & ~dut.burst.ready, size, 0), left - Mux(moved, size, 0))
        )
        m.d.sync += [at.eq(at + Mux(moved, size, 0)), left.eq(rest)]
        with m.If(rest == 0):
            m.d.sync += [at.eq(behind), left.eq(Mux(dut.flush, 0, more)), more.eq(0)]
        with m.If(dut.flush):
            m.d.sync += more.eq(0)
        with m.If(taken & ~dut.flush):
            with m.If((rest == 0) & (more == 0)):
                m.d.sync += [at.eq(given.address), left.eq(given.count + 1)]
            with m.Else():
                m.d.sync += [behind.eq(given.address), more.eq(given.count + 1)]
        asked = Signal(range(OUTSTANDING + 2))
        m.d.sync += asked.eq(asked + moved - dut.ended)
        self.assume(~dut.ended | (asked != 0))

        active, waiting = self.peek("active"), self.peek("waiting", bits_for(OUTSTANDING + 1))
        address, count = self.peek("address", bits), self.peek("left", bits)
        room = Signal(bits_for(BURST_BEATS + 1))
        m.d.comb += room.eq(BURST_BEATS - at[: bits_for(BURST_BEATS)])
        ahead, following = Signal(bits + 1), Signal(bits)
        m.d.comb += following.eq(at + Mux(dut.burst.valid, size, 0))
        m.d.comb += ahead.eq(left - Mux(dut.burst.valid, size, 0))
        waited = self.past(m, dut.burst.valid & ~dut.burst.ready, "waited") & self.running
        held = burst.as_value()
        could = (left != 0) & (waiting != OUTSTANDING) & ~dut.burst.valid & ~dut.flush
        self.require(
            waiting=waiting == asked + dut.burst.valid,
            most=asked <= OUTSTANDING,
            one=(more == 0) | (dut.burst.valid & (left == size)),
            begun=active == ((ahead != 0) | (more != 0)),
            run=~(active & (ahead != 0)) | ((address == following) & (count == ahead - 1)),
            second=~(active & (ahead == 0)) | ((address == behind) & (count == more - 1)),
            some=~dut.burst.valid | (left != 0),
            address=~dut.burst.valid | (burst.address == at),
            length=~dut.burst.valid | (size == Mux(left < room, left, room)) | self._flushed(m, left, size),
            page=~dut.burst.valid
            | (Cat(burst.address[: page_bits(config)], Const(0, 1)) + burst.length < 1 << page_bits(config)),
            stays=~waited | (dut.burst.valid & (held == self.past(m, held, "held"))),
            idle=dut.idle == ((ahead == 0) & (more == 0) & (asked == 0) & ~dut.burst.valid),
            soon=~(self.past(m, could, "could") & self.running) | dut.burst.valid,
        )

    def _flushed(self, m: Module, left: Value, size: Value) -> Value:
        """The burst that is offered is all that a flush has left of its run."""
        flushed = Signal()
        with m.If(self.dut.flush):
            m.d.sync += flushed.eq(1)
        with m.Elif(~self.dut.burst.valid | self.dut.burst.ready):
            m.d.sync += flushed.eq(0)
        return flushed & (left == size)


PROPERTIES: tuple[type[Checker], ...] = (BurstRuns,)
