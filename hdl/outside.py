"""How the transfer engine stands in the machine, in builds with a memory outside."""

from amaranth import Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Member, connect

from twofold.golden.config import ArrayConfig
from twofold.hdl.axi import read_channels, write_channels
from twofold.hdl.control import Control
from twofold.hdl.loader import Loader
from twofold.hdl.requantiser import Requantiser
from twofold.hdl.sender import Sender
from twofold.hdl.sequencer import Sequencer
from twofold.hdl.transfers import Transfers


def bus(config: ArrayConfig) -> dict[str, Member]:
    """The AXI4 master's signals, as seen from the machine."""
    return {**read_channels(config).members, **write_channels(config).members}


class LineWrites:
    """Lines for the memories: the loader's between inferences, those of transfers within one.

    `write` and `write_valid` are as the loader's.
    """

    def __init__(self, m: Module, loader: Loader, transfers: Transfers) -> None:
        own, other = loader.write, transfers.write
        bits = max(len(own.data), len(other.data))
        layout = data.StructLayout({"kind": len(own.kind), "address": len(own.address), "data": bits})
        self.write, self.write_valid = Signal(layout, name="line_write"), Signal(name="line_write_valid")
        m.d.comb += self.write_valid.eq(loader.write_valid | transfers.write_valid)
        for name in ("kind", "address", "data"):
            m.d.comb += self.write[name].eq(Mux(transfers.write_valid, other[name], own[name]))


def add_transfers(m: Module, top: wiring.Component, control: Control, sequencer: Sequencer) -> Transfers:
    """The engine between the sequencer, the registers and the bus."""
    m.submodules.transfers = transfers = Transfers(sequencer.config)
    connect(m, sequencer.transferring, transfers.transferring)
    m.d.comb += [
        transfers.base.eq(control.base),
        control.bus.eq(transfers.bus),
        control.stalls.eq(sequencer.stalls),
    ]
    for name, member in bus(sequencer.config).items():
        outside, inside = getattr(top, f"m_axi_{name}"), getattr(transfers.axi, name)
        m.d.comb += inside.eq(outside) if member.flow is In else outside.eq(inside)
    return transfers


def leave_port(m: Module, transfers: Transfers, requantiser: Requantiser, sender: Sender) -> None:
    """Feature memory's port for transfers: what the requantiser and the sender leave."""
    feature, was_read = requantiser.feature, Signal()
    # A skip's line is looked at up to two cycles after it was asked for, so nobody reads another one in between.
    m.d.sync += was_read.eq(feature.read)
    m.d.comb += [
        transfers.drain_idle.eq(requantiser.drain.idle),
        transfers.feature.free.eq(sender.send.ready & ~feature.read & ~was_read & ~feature.enable.any()),
    ]
