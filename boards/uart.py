"""A serial line: bytes in and out, 8 bits, no parity, one stop bit."""

from amaranth import Cat, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out


def check_divisor(divisor: int) -> None:
    """Raise ValueError if a line cannot run at so many clock cycles a bit."""
    if type(divisor) is not int or divisor < 4:
        raise ValueError(f"divisor must be an integer of at least 4 (clock cycles a bit), not {divisor!r}")


class Receiver(wiring.Component):
    """Bytes from a line, sampled in the middle of each bit; a byte stands for one cycle, there is no waiting.

    A byte without its stop bit is dropped.

    Parameters
    ----------
    divisor
        Clock cycles a bit.

    Members
    -------
    rx : In(1)
        The line, asynchronous.
    byte : Out(8), valid : Out(1)
        A byte has come.
    """

    def __init__(self, divisor: int):
        check_divisor(divisor)
        self.divisor = divisor
        super().__init__({"rx": In(1, init=1), "byte": Out(8), "valid": Out(1)})

    def elaborate(self, platform):
        m = Module()
        line = Signal(init=1)
        # With a reset, so that no byte begins in it.
        m.submodules.synchroniser = FFSynchronizer(self.rx, line, init=1, reset_less=False)
        timer = Signal(range(self.divisor))
        bits = Signal(range(9))
        m.d.sync += self.valid.eq(0)
        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += [timer.eq(self.divisor // 2 - 1), bits.eq(0)]
                with m.If(~line):
                    m.next = "START"
            with m.State("START"):
                m.d.sync += timer.eq(timer - 1)
                with m.If(timer == 0):
                    m.d.sync += timer.eq(self.divisor - 1)
                    m.next = "DATA"
                    with m.If(line):
                        m.next = "IDLE"
            with m.State("DATA"):
                m.d.sync += timer.eq(timer - 1)
                with m.If(timer == 0):
                    m.d.sync += [timer.eq(self.divisor - 1), bits.eq(bits + 1)]
                    with m.If(bits == 8):
                        m.d.sync += self.valid.eq(line)
                        m.next = "IDLE"
                    with m.Else():
                        m.d.sync += self.byte.eq(Cat(self.byte[1:], line))
        return m


class Transmitter(wiring.Component):
    """Bytes to a line.

    Parameters
    ----------
    divisor
        Clock cycles a bit.

    Members
    -------
    i : In(stream of 8 bits)
        Bytes to send.
    tx : Out(1)
        The line.
    """

    def __init__(self, divisor: int):
        check_divisor(divisor)
        self.divisor = divisor
        super().__init__({"i": In(stream.Signature(8)), "tx": Out(1, init=1)})

    def elaborate(self, platform):
        m = Module()
        timer = Signal(range(self.divisor))
        bits = Signal(range(11))
        shift = Signal(10, init=-1)
        m.d.comb += [self.i.ready.eq(bits == 0), self.tx.eq(shift[0])]
        with m.If(bits == 0):
            with m.If(self.i.valid):
                m.d.sync += [shift.eq(Cat(0, self.i.payload, 1)), bits.eq(10), timer.eq(self.divisor - 1)]
        with m.Elif(timer == 0):
            m.d.sync += [shift.eq(Cat(shift[1:], 1)), bits.eq(bits - 1), timer.eq(self.divisor - 1)]
        with m.Else():
            m.d.sync += timer.eq(timer - 1)
        return m
