"""Between a serial line and the machine: `boards/protocol.py` in hardware."""

from amaranth import Cat, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from twofold.boards.protocol import Code
from twofold.golden.isa import STREAM_BITS

#: The machine's ports as seen from the bridge, but for the write strobes and protections, which are constant.
MACHINE = {
    "s_axis_tdata": Out(STREAM_BITS),
    "s_axis_tvalid": Out(1),
    "s_axis_tready": In(1),
    "s_axis_tlast": Out(1),
    "m_axis_tdata": In(STREAM_BITS),
    "m_axis_tvalid": In(1),
    "m_axis_tready": Out(1),
    "m_axis_tlast": In(1),
    "s_axil_awaddr": Out(8),
    "s_axil_awvalid": Out(1),
    "s_axil_awready": In(1),
    "s_axil_wdata": Out(32),
    "s_axil_wvalid": Out(1),
    "s_axil_wready": In(1),
    "s_axil_bresp": In(2),
    "s_axil_bvalid": In(1),
    "s_axil_bready": Out(1),
    "s_axil_araddr": Out(8),
    "s_axil_arvalid": Out(1),
    "s_axil_arready": In(1),
    "s_axil_rdata": In(32),
    "s_axil_rresp": In(2),
    "s_axil_rvalid": In(1),
    "s_axil_rready": Out(1),
}


class Bridge(wiring.Component):
    """Takes commands byte by byte and gives replies and output beats byte by byte.

    Members
    -------
    byte : In(8), valid : In(1)
        A byte from the host. While the machine has not taken a beat, the next beat can come in, but not a third.
    o : Out(stream of 8 bits)
        Bytes for the host.
    s_axis_*, m_axis_*, s_axil_*
        The machine.
    """

    def __init__(self):
        super().__init__({"byte": In(8), "valid": In(1), "o": Out(stream.Signature(8)), **MACHINE})

    def elaborate(self, platform):
        m = Module()
        reply = Signal(8 * 6)
        reply_left = Signal(range(7))
        self._commands(m, reply, reply_left)
        self._answers(m, reply, reply_left)
        return m

    def _commands(self, m, reply, reply_left):
        word = Signal(STREAM_BITS)
        taken = Signal(2)
        left = Signal(STREAM_BITS)
        command = Signal(Code)
        collected = Cat(word[8:], self.byte)
        with m.If(self.valid):
            m.d.sync += word.eq(collected)
        with m.If(self.s_axis_tready):
            m.d.sync += self.s_axis_tvalid.eq(0)
        with m.FSM(name="command"):
            with m.State("IDLE"):
                m.d.sync += taken.eq(0)
                with m.If(self.valid):
                    m.d.sync += command.eq(self.byte)
                    with m.Switch(self.byte):
                        with m.Case(Code.FRAME):
                            m.next = "COUNT"
                        with m.Case(Code.READ, Code.WRITE):
                            m.next = "ADDRESS"
            with m.State("COUNT"):
                with m.If(self.valid):
                    m.d.sync += taken.eq(taken + 1)
                    with m.If(taken == 3):
                        m.d.sync += left.eq(collected)
                        m.next = "BEATS"
                        with m.If(collected == 0):
                            m.next = "TAKEN"
            with m.State("BEATS"):
                with m.If(self.valid):
                    m.d.sync += taken.eq(taken + 1)
                    with m.If(taken == 3):
                        m.d.sync += [
                            self.s_axis_tdata.eq(collected),
                            self.s_axis_tlast.eq(left == 1),
                            self.s_axis_tvalid.eq(1),
                            left.eq(left - 1),
                        ]
                        with m.If(left == 1):
                            m.next = "TAKEN"
            with m.State("TAKEN"):
                with m.If(~self.s_axis_tvalid):
                    self._reply(m, reply, reply_left, Code.FRAME)
            with m.State("ADDRESS"):
                with m.If(self.valid):
                    m.d.sync += [self.s_axil_awaddr.eq(self.byte), self.s_axil_araddr.eq(self.byte)]
                    m.next = "VALUE"
                    with m.If(command == Code.READ):
                        m.d.sync += self.s_axil_arvalid.eq(1)
                        m.next = "READ"
            with m.State("READ"):
                with m.If(self.s_axil_arready):
                    m.d.sync += self.s_axil_arvalid.eq(0)
                with m.If(self.s_axil_rvalid):
                    self._reply(m, reply, reply_left, Code.READ, self.s_axil_rresp, self.s_axil_rdata)
                    with m.If(reply_left == 0):
                        m.d.comb += self.s_axil_rready.eq(1)
            with m.State("VALUE"):
                with m.If(self.valid):
                    m.d.sync += taken.eq(taken + 1)
                    with m.If(taken == 3):
                        m.d.sync += [
                            self.s_axil_wdata.eq(collected),
                            self.s_axil_awvalid.eq(1),
                            self.s_axil_wvalid.eq(1),
                        ]
                        m.next = "WRITE"
            with m.State("WRITE"):
                with m.If(self.s_axil_awready):
                    m.d.sync += self.s_axil_awvalid.eq(0)
                with m.If(self.s_axil_wready):
                    m.d.sync += self.s_axil_wvalid.eq(0)
                with m.If(self.s_axil_bvalid):
                    self._reply(m, reply, reply_left, Code.WRITE, self.s_axil_bresp)
                    with m.If(reply_left == 0):
                        m.d.comb += self.s_axil_bready.eq(1)

    def _reply(self, m, reply, reply_left, code, response=None, value=None):
        """Once there is room, reply and be idle."""
        parts = [int(code)]
        line = Signal(8 * 6, name=f"{code.name.lower()}_reply")
        m.d.comb += line[:8].eq(parts[0])
        if response is not None:
            m.d.comb += line[8:16].eq(response)
        if value is not None:
            m.d.comb += line[16:].eq(value)
        count = 1 + (response is not None) + 4 * (value is not None)
        with m.If(reply_left == 0):
            m.d.sync += [reply.eq(line), reply_left.eq(count)]
            m.next = "IDLE"

    def _answers(self, m, reply, reply_left):
        answer = Signal(8 * 6)
        answer_left = Signal(range(7))
        m.d.comb += [self.o.payload.eq(answer[:8]), self.o.valid.eq(answer_left != 0)]
        with m.If(answer_left != 0):
            with m.If(self.o.ready):
                m.d.sync += [answer.eq(answer >> 8), answer_left.eq(answer_left - 1)]
        with m.Elif(reply_left != 0):
            m.d.sync += [answer.eq(reply), answer_left.eq(reply_left), reply_left.eq(0)]
        with m.Else():
            m.d.comb += self.m_axis_tready.eq(1)
            with m.If(self.m_axis_tvalid):
                code = Signal(8)
                m.d.comb += code.eq(Code.BEAT | self.m_axis_tlast)
                m.d.sync += [answer.eq(Cat(code, self.m_axis_tdata)), answer_left.eq(5)]
