"""The machine as a component of an own Amaranth design: streams and AXI4-Lite as signatures instead of flat ports."""

from amaranth import ClockSignal, Instance, Module, ResetSignal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from twofold.golden.config import ArrayConfig
from twofold.golden.isa import STREAM_BITS
from twofold.hdl.control import AXI_LITE
from twofold.hdl.emit import top_name
from twofold.hdl.outside import bus
from twofold.hdl.top import PORTS, Twofold

#: The machine's streams, by the names of its ports.
AXI_STREAMS = {name: member for name, member in PORTS.items() if "_axis_" in name}
#: A beat of a frame.
BEAT = data.StructLayout({"data": STREAM_BITS, "last": 1})


class EmittedMachine(wiring.Component):
    """The machine's ports, before a module of that name that stands elsewhere: in the file that `hdl.emit` wrote."""

    def __init__(self, config: ArrayConfig) -> None:
        self.config = config
        super().__init__(PORTS)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        ports = {f"{'i' if member.flow is In else 'o'}_{name}": getattr(self, name) for name, member in PORTS.items()}
        m.submodules.machine = Instance(
            top_name(self.config), i_clk=ClockSignal("sync"), i_rst=ResetSignal("sync"), **ports
        )
        return m


class MachineComponent(wiring.Component):
    """A build of the machine for an own design in Amaranth.

    Parameters
    ----------
    config
        The build.

    Members
    -------
    axi : AXI4-Lite slave (`hdl.control.AXI_LITE`)
        Registers.
    i : In(stream of `BEAT`)
        Frames: images and inputs.
    o : Out(stream of `BEAT`)
        Frames: outputs.
    memory : AXI4 master
        The memory outside, in builds with one: signals by the names of the machine's ports `m_axi_*`.
    """

    def __init__(self, config: ArrayConfig) -> None:
        self.config = config
        memory = {"memory": Out(wiring.Signature(bus(config)))} if config.external else {}
        streams = {"i": In(stream.Signature(BEAT)), "o": Out(stream.Signature(BEAT))}
        super().__init__({"axi": Out(AXI_LITE)} | streams | memory)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.machine = machine = Twofold(self.config)
        m.d.comb += [
            machine.s_axis_tdata.eq(self.i.p.data),
            machine.s_axis_tlast.eq(self.i.p.last),
            machine.s_axis_tvalid.eq(self.i.valid),
            self.i.ready.eq(machine.s_axis_tready),
            self.o.p.data.eq(machine.m_axis_tdata),
            self.o.p.last.eq(machine.m_axis_tlast),
            self.o.valid.eq(machine.m_axis_tvalid),
            machine.m_axis_tready.eq(self.o.ready),
        ]
        for name, member in AXI_LITE.members.items():
            outside, inside = getattr(self.axi, name), getattr(machine, f"s_axil_{name}")
            m.d.comb += inside.eq(outside) if member.flow is In else outside.eq(inside)
        if self.config.external:
            for name, member in bus(self.config).items():
                outside, inside = getattr(self.memory, name), getattr(machine, f"m_axi_{name}")
                m.d.comb += inside.eq(outside) if member.flow is In else outside.eq(inside)
        return m
