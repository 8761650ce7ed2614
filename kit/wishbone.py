"""Wishbone (classic, 32 bits) to AXI4-Lite, and the machine behind it."""

from amaranth import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from twofold.golden.config import ArrayConfig
from twofold.hdl.control import ADDRESS_BITS, AXI_LITE, OKAY
from twofold.kit.machine import AXI_STREAMS, EmittedMachine

#: A Wishbone classic slave's signals and widths, as seen from the slave; `adr` counts words of 32 bits.
WISHBONE = wiring.Signature(
    {
        "cyc": In(1),
        "stb": In(1),
        "we": In(1),
        "adr": In(ADDRESS_BITS - 2),
        "sel": In(4),
        "dat_w": In(32),
        "dat_r": Out(32),
        "ack": Out(1),
        "err": Out(1),
    }
)


class WishboneBridge(wiring.Component):
    """Registers on a Wishbone bus: one access at a time, answered by `ack`, or by `err` where AXI4-Lite says SLVERR.

    `ack` or `err` stands for one cycle, the fourth of an access to this machine. A cycle that its master ends
    early is carried out and not answered.

    Members
    -------
    wb : Wishbone slave
    axi : AXI4-Lite master
    """

    def __init__(self) -> None:
        super().__init__({"wb": Out(WISHBONE), "axi": In(AXI_LITE)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        wb, axi = self.wb, self.axi
        asked = Signal()
        answer = Signal()
        fault = Signal()
        left = Signal()
        m.d.comb += [
            asked.eq(wb.cyc & wb.stb),
            axi.araddr.eq(axi.awaddr),
            wb.ack.eq(answer & ~fault & asked),
            wb.err.eq(answer & fault & asked),
            axi.bready.eq(1),
            axi.rready.eq(1),
        ]
        m.d.sync += answer.eq(0)
        for valid, ready in ((axi.awvalid, axi.awready), (axi.wvalid, axi.wready), (axi.arvalid, axi.arready)):
            with m.If(ready):
                m.d.sync += valid.eq(0)
        with m.FSM(name="access"):
            with m.State("IDLE"):
                with m.If(asked & ~answer):
                    m.d.sync += [
                        axi.awaddr.eq(wb.adr << 2),
                        axi.wdata.eq(wb.dat_w),
                        axi.wstrb.eq(wb.sel),
                        axi.awvalid.eq(wb.we),
                        axi.wvalid.eq(wb.we),
                        axi.arvalid.eq(~wb.we),
                        left.eq(0),
                    ]
                    m.next = "WAIT"
            with m.State("WAIT"):
                with m.If(~asked):
                    m.d.sync += left.eq(1)
                with m.If(axi.bvalid | axi.rvalid):
                    m.d.sync += [
                        wb.dat_r.eq(axi.rdata),
                        fault.eq((axi.bvalid & (axi.bresp != OKAY)) | (axi.rvalid & (axi.rresp != OKAY))),
                        answer.eq(asked & ~left),
                    ]
                    m.next = "IDLE"
        return m


class WishboneMachine(wiring.Component):
    """An emitted machine (`hdl.emit`) with its registers on Wishbone instead of AXI4-Lite.

    Parameters
    ----------
    config
        The build.

    Members
    -------
    wb_* : Wishbone slave
    s_axis_*, m_axis_* : AXI4-Stream
        As the machine's.
    """

    def __init__(self, config: ArrayConfig) -> None:
        self.config = config
        super().__init__({f"wb_{name}": member for name, member in WISHBONE.members.items()} | AXI_STREAMS)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.machine = machine = EmittedMachine(self.config)
        m.submodules.bridge = bridge = WishboneBridge()
        for name in AXI_LITE.members:
            master, slave = getattr(bridge.axi, name), getattr(machine, f"s_axil_{name}")
            m.d.comb += slave.eq(master) if AXI_LITE.members[name].flow is In else master.eq(slave)
        for name, member in WISHBONE.members.items():
            outside, inside = getattr(self, f"wb_{name}"), getattr(bridge.wb, name)
            m.d.comb += inside.eq(outside) if member.flow is In else outside.eq(inside)
        for name, member in AXI_STREAMS.items():
            outside, inside = getattr(self, name), getattr(machine, name)
            m.d.comb += inside.eq(outside) if member.flow is In else outside.eq(inside)
        return m
