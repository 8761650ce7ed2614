"""The whole machine: memories, loader, sequencer, compute path, requantiser, sender and registers."""

from amaranth import Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out, connect

from twofold.golden import isa
from twofold.golden.config import ArrayConfig
from twofold.golden.isa import STREAM_BITS, Section
from twofold.hdl.compute import Compute
from twofold.hdl.control import AXI_LITE, Control
from twofold.hdl.decoder import Decoder
from twofold.hdl.layouts import activations_layout
from twofold.hdl.loader import Loader
from twofold.hdl.requantiser import Requantiser
from twofold.hdl.sender import Sender
from twofold.hdl.sequencer import Sequencer

#: The machine's ports, the same for every build; clock `clk` and reset `rst` (synchronous, active high) come on top.
PORTS = {
    "s_axis_tdata": In(STREAM_BITS),
    "s_axis_tvalid": In(1),
    "s_axis_tready": Out(1),
    "s_axis_tlast": In(1),
    "m_axis_tdata": Out(STREAM_BITS),
    "m_axis_tvalid": Out(1),
    "m_axis_tready": In(1),
    "m_axis_tlast": Out(1),
} | {f"s_axil_{name}": member for name, member in AXI_LITE.members.items()}


class Twofold(wiring.Component):
    """A build of the machine; docs/machine.md says what a host sees of it.

    Parameters
    ----------
    config
        The build.

    Members
    -------
    s_axis_* : AXI4-Stream slave
        Frames: images and inputs.
    m_axis_* : AXI4-Stream master
        Frames: outputs.
    s_axil_* : AXI4-Lite slave
        Registers.
    """

    def __init__(self, config: ArrayConfig):
        self.config = config
        super().__init__(PORTS)

    def elaborate(self, platform):
        m = Module()
        config = self.config
        m.submodules.control = control = Control(config)
        m.submodules.loader = loader = Loader(config)
        m.submodules.sequencer = sequencer = Sequencer(config)
        m.submodules.decoder = decoder = Decoder(config)
        m.submodules.compute = compute = Compute(config)
        m.submodules.requantiser = requantiser = Requantiser(config)
        m.submodules.sender = sender = Sender(config)
        self._ports(m, control, loader, sender)

        m.d.comb += [
            loader.enable.eq(~sequencer.busy & ~control.run),
            control.between.eq(loader.between),
            control.finished.eq(loader.finished),
            control.has_program.eq(loader.has_program),
            control.has_input.eq(loader.has_input),
            control.touched.eq(loader.touched),
            control.error.eq(loader.error),
            control.error_valid.eq(loader.error_valid),
            control.busy.eq(sequencer.busy),
            control.complete.eq(sequencer.complete),
            control.failed.eq(sequencer.failed),
            control.cycles.eq(sequencer.cycles),
            control.passes.eq(sequencer.passes),
            sequencer.run.eq(control.run),
            sequencer.drain_idle.eq(requantiser.idle),
            sequencer.sent.eq(sender.sent),
            requantiser.start.eq(sequencer.drain_start),
            requantiser.drain.eq(sequencer.drain),
            requantiser.bank.eq(sequencer.drain_bank),
            requantiser.width.eq(sequencer.width),
            requantiser.height.eq(sequencer.height),
            requantiser.read_data.eq(compute.read_data),
            compute.read_bank.eq(requantiser.read_bank),
            compute.read_position.eq(requantiser.read_position),
            compute.load.eq(sequencer.load),
            compute.words.eq(decoder.words),
            decoder.set.eq(sequencer.set),
        ]
        connect(m, sequencer.start, compute.start)
        connect(m, sequencer.send, sender.send)

        self._feature_memory(m, loader, compute, requantiser, sender)
        program = self._memory(m, loader, Section.PROGRAM, sequencer.program_address)
        weights = self._memory(m, loader, Section.WEIGHT, sequencer.weight_address)
        channels = self._memory(m, loader, Section.CHANNEL, requantiser.channel_address)
        column = Signal(len(weights))
        m.d.sync += column.eq(weights)
        m.d.comb += [
            sequencer.program_data.eq(program),
            requantiser.channel_data.eq(channels),
            decoder.codes.eq(column),
            decoder.table.valid.eq(loader.write_valid & (loader.write.kind == Section.POINTS)),
            decoder.table.payload.line.eq(loader.write.address),
            decoder.table.payload.row.eq(loader.write.data),
        ]
        return m

    def _ports(self, m, control, loader, sender):
        m.d.comb += [
            loader.i.payload.data.eq(self.s_axis_tdata),
            loader.i.payload.last.eq(self.s_axis_tlast),
            loader.i.valid.eq(self.s_axis_tvalid),
            self.s_axis_tready.eq(loader.i.ready),
            self.m_axis_tdata.eq(sender.o.payload.data),
            self.m_axis_tlast.eq(sender.o.payload.last),
            self.m_axis_tvalid.eq(sender.o.valid),
            sender.o.ready.eq(self.m_axis_tready),
        ]
        for name, member in AXI_LITE.members.items():
            outside, inside = getattr(self, f"s_axil_{name}"), getattr(control.axi, name)
            m.d.comb += inside.eq(outside) if member.flow is In else outside.eq(inside)

    def _memory(self, m, loader, section, address):
        """A memory that the loader writes; returns the line at `address`, one cycle later."""
        name = section.name.lower()
        bits = isa.line_bits(self.config, section)
        m.submodules[f"{name}_memory"] = memory = Memory(
            shape=bits, depth=isa.line_count(self.config, section), init=[]
        )
        write = memory.write_port()
        read = memory.read_port()
        m.d.comb += [
            write.addr.eq(loader.write.address),
            write.data.eq(loader.write.data),
            write.en.eq(loader.write_valid & (loader.write.kind == section)),
            read.addr.eq(address),
        ]
        return read.data

    def _feature_memory(self, m, loader, compute, requantiser, sender):
        config = self.config
        m.submodules.feature_memory = memory = Memory(
            shape=activations_layout(config), depth=config.feature_depth, init=[]
        )
        write = memory.write_port(granularity=1)
        read = memory.read_port()
        input_valid = Signal()
        line = data.View(activations_layout(config), loader.write.data[: config.feature_bits])
        m.d.comb += [
            input_valid.eq(loader.write_valid & (loader.write.kind == Section.FEATURE)),
            read.addr.eq(Mux(sender.send.ready, compute.feature_address, sender.address)),
            compute.feature_data.eq(read.data),
            sender.line.eq(read.data),
            write.addr.eq(Mux(input_valid, loader.write.address, requantiser.write_address)),
            write.data.eq(Mux(input_valid, line.as_value(), requantiser.write_data.as_value())),
            write.en.eq(Mux(input_valid, ~0, requantiser.write_enable)),
        ]
