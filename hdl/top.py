"""The whole machine: memories, loader, sequencer, compute path, requantiser, sender and registers."""

from typing import NamedTuple

from amaranth import Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory, ReadPort
from amaranth.lib.wiring import In, Out, connect

from twofold.golden import isa
from twofold.golden.config import ArrayConfig
from twofold.golden.isa import STREAM_BITS, Section
from twofold.hdl.compute import Compute
from twofold.hdl.control import AXI_LITE, Control
from twofold.hdl.decoder import Decoder
from twofold.hdl.interfaces import read_port
from twofold.hdl.layouts import activations_layout
from twofold.hdl.loader import Loader
from twofold.hdl.outside import LineWrites, add_transfers, bus, leave_port
from twofold.hdl.requantiser import Requantiser
from twofold.hdl.sender import Sender
from twofold.hdl.sequencer import Sequencer
from twofold.hdl.transfers import Transfers

#: The ports of every build; clock `clk` and reset `rst` (synchronous, active high) come on top.
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


def ports(config: ArrayConfig) -> dict[str, wiring.Member]:
    """The ports of a build: with a memory outside an AXI4 master `m_axi_*` comes on top."""
    return PORTS | ({f"m_axi_{name}": member for name, member in bus(config).items()} if config.external else {})


class Parts(NamedTuple):
    """The machine's components, by their names in it."""

    control: Control
    loader: Loader
    sequencer: Sequencer
    decoder: Decoder
    compute: Compute
    requantiser: Requantiser
    sender: Sender


class _Reader:
    """A memory's read port, as `hdl.interfaces.read_port` names its signals."""

    def __init__(self, port: ReadPort) -> None:
        self.address, self.line = port.addr, port.data
        self.signature = read_port(port.addr.shape(), port.signature.shape).flip()


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
        super().__init__(ports(config))

    def parts(self) -> Parts:
        """New components for the machine."""
        config = self.config
        return Parts(
            control=Control(config),
            loader=Loader(config),
            sequencer=Sequencer(config),
            decoder=Decoder(config),
            compute=Compute(config),
            requantiser=Requantiser(config),
            sender=Sender(config),
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        parts = self.parts()
        for name, part in parts._asdict().items():
            m.submodules[name] = part
        control, loader, sequencer, decoder, compute, requantiser, sender = parts
        transfers = add_transfers(m, self, control, sequencer) if self.config.external else None
        writes = loader if transfers is None else LineWrites(m, loader, transfers)
        self._ports(m, control, loader, sender)
        connect(m, loader.loading, control.loading)
        connect(m, sequencer.inference, control.inference)
        connect(m, sequencer.start, compute.start)
        connect(m, sequencer.drain, requantiser.drain)
        connect(m, sequencer.send, sender.send)
        connect(m, requantiser.accumulators, compute.accumulators)
        m.d.comb += [
            loader.enable.eq(~sequencer.inference.busy & ~control.inference.run),
            sequencer.sent.eq(sender.sent),
            compute.load.eq(sequencer.load),
            compute.words.eq(decoder.words),
            decoder.set.eq(sequencer.set),
        ]

        self._feature_memory(m, writes, compute, requantiser, sender, transfers)
        connect(m, sequencer.program, self._memory(m, writes, Section.PROGRAM))
        connect(m, requantiser.channel, self._memory(m, writes, Section.CHANNEL))
        weights = self._memory(m, writes, Section.WEIGHT)
        weight_codes = Signal(len(weights.line))
        m.d.sync += weight_codes.eq(weights.line)
        m.d.comb += [
            weights.address.eq(sequencer.weight_address),
            decoder.codes.eq(weight_codes),
            decoder.table.valid.eq(writes.write_valid & (writes.write.kind == Section.POINTS)),
            decoder.table.payload.line.eq(writes.write.address),
            decoder.table.payload.row.eq(writes.write.data),
        ]
        if self.config.tables:
            m.d.comb += [
                requantiser.entries.enable.eq(writes.write_valid & (writes.write.kind == Section.TABLES)),
                requantiser.entries.address.eq(writes.write.address),
                requantiser.entries.data.eq(writes.write.data),
            ]
        return m

    def _ports(self, m: Module, control: Control, loader: Loader, sender: Sender) -> None:
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

    def _memory(self, m: Module, writes: Loader | LineWrites, section: Section) -> _Reader:
        """A memory that the loader writes, and transfers, for who reads it."""
        bits = isa.line_bits(self.config, section)
        m.submodules[f"{section.name.lower()}_memory"] = memory = Memory(
            shape=bits, depth=isa.line_count(self.config, section), init=[]
        )
        write = memory.write_port()
        m.d.comb += [
            write.addr.eq(writes.write.address),
            write.data.eq(writes.write.data),
            write.en.eq(writes.write_valid & (writes.write.kind == section)),
        ]
        return _Reader(memory.read_port())

    def _feature_memory(
        self,
        m: Module,
        writes: Loader | LineWrites,
        compute: Compute,
        requantiser: Requantiser,
        sender: Sender,
        transfers: Transfers | None,
    ) -> None:
        config = self.config
        # A program reads no line in the cycle in which it is written, so memories may give anything then.
        m.submodules.feature_memory = memory = Memory(
            shape=activations_layout(config), depth=config.feature_depth, init=[], attrs={"no_rw_check": 1}
        )
        window, write, other = memory.read_port(), memory.write_port(granularity=1), memory.read_port()
        input_valid = Signal()
        address = Signal.like(write.addr)
        line = data.View(activations_layout(config), writes.write.data[: config.feature_bits])
        m.d.comb += [
            window.addr.eq(compute.feature.address),
            compute.feature.line.eq(window.data),
            # One port of a block RAM writes and reads what is not the array's.
            input_valid.eq(writes.write_valid & (writes.write.kind == Section.FEATURE)),
            address.eq(Mux(sender.send.ready, requantiser.feature.address, sender.feature.address)),
            write.addr.eq(Mux(input_valid, writes.write.address, address)),
            write.data.eq(Mux(input_valid, line.as_value(), requantiser.feature.data.as_value())),
            write.en.eq(Mux(input_valid, ~0, requantiser.feature.enable)),
            other.addr.eq(write.addr),
            other.en.eq(requantiser.feature.read | ~sender.send.ready),
            requantiser.feature.line.eq(other.data),
            sender.feature.line.eq(other.data),
        ]
        if transfers is not None:
            leave_port(m, transfers, requantiser, sender)
            m.d.comb += transfers.feature.line.eq(other.data.as_value())
            with m.If(transfers.feature.read & transfers.feature.free):
                m.d.comb += [address.eq(transfers.feature.address), other.en.eq(1)]
