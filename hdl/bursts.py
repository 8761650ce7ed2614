"""Runs of beats as bursts: each ends where a block of 256 beats does, or where the run does."""

from amaranth import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from twofold.golden.config import ArrayConfig, bits_for
from twofold.golden.transfers import OUTSTANDING
from twofold.hdl.axi import BLOCK_BITS, beat_bits, commands


class Bursts(wiring.Component):
    """Gives a burst a cycle, the first one two cycles after its run is taken, and counts those without an answer.

    Parameters
    ----------
    config
        The build.

    Members
    -------
    command : In(`axi.commands`)
        Runs.
    flush : In(1)
        Drop the bursts that are not offered yet, and a run taken in this cycle.
    burst : Out(stream of {address, length})
        Address of the first beat, and number of beats minus one.
    ended : In(1)
        A burst is answered; at most once for each that was taken.
    idle : Out(1)
        Nothing is left to offer or to be answered.
    """

    def __init__(self, config: ArrayConfig):
        self.config = config
        super().__init__(
            {
                "command": In(commands(config)),
                "flush": In(1),
                "burst": Out(stream.Signature(data.StructLayout({"address": beat_bits(config), "length": BLOCK_BITS}))),
                "ended": In(1),
                "idle": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        active = Signal()
        address = Signal.like(self.command.payload.address)
        left = Signal.like(self.command.payload.count)
        waiting = Signal(bits_for(OUTSTANDING + 1))
        room, whole, step, last = Signal(BLOCK_BITS), Signal(), Signal(), Signal()
        m.d.comb += [
            room.eq(~address[:BLOCK_BITS]),
            whole.eq(left > room),
            step.eq(active & ~self.flush & (waiting != OUTSTANDING) & (~self.burst.valid | self.burst.ready)),
            last.eq(step & ~whole),
            self.command.ready.eq(~active | last),
            self.idle.eq(~active & (waiting == 0)),
        ]
        m.d.sync += waiting.eq(waiting + step - self.ended)
        with m.If(self.burst.ready):
            m.d.sync += self.burst.valid.eq(0)
        with m.If(step):
            m.d.sync += [
                self.burst.valid.eq(1),
                self.burst.payload.address.eq(address),
                self.burst.payload.length.eq(Mux(whole, room, left)),
                address.eq(Cat(Const(0, BLOCK_BITS), address[BLOCK_BITS:] + 1)),
                left.eq(left - room - 1),
            ]
        with m.If(last):
            m.d.sync += active.eq(0)
        with m.If(self.command.valid & self.command.ready):
            m.d.sync += [active.eq(1), address.eq(self.command.payload.address), left.eq(self.command.payload.count)]
        with m.If(self.flush):
            m.d.sync += active.eq(0)
        return m
