"""The two halves of the AXI4 master around their bursts: constants, data, answers."""

from amaranth import Cat, Module, Signal

from twofold.formal.bursts import BUILDS, QUICK
from twofold.formal.checker import Checker
from twofold.formal.faults import Fault
from twofold.golden.config import bits_for
from twofold.golden.transfers import BURST_BEATS
from twofold.hdl.axi import INCREMENT, beat_bits, byte_bits


class ReadBus(Checker):
    """Addresses are those of the bursts, in bytes, of INCR bursts of the whole bus with ID 0; every beat goes on as it
    comes, with its error; a burst is answered with its last beat.
    """

    name = "AXI4 reads: addresses, constants, every beat handed on"
    component = "axi_read"
    builds = BUILDS
    short = QUICK
    faults = (
        Fault("axi_read", "address << byte_bits(self.config)", "address", "address"),
        Fault("axi_read", "axi.rvalid & axi.rready & axi.rlast", "axi.rvalid & axi.rlast", "answered"),
        Fault("axi_read", "axi.rresp[ERROR_BIT]", "axi.rresp[0]", "data"),
        Fault("axi_read", "getattr(axi, name).eq(value)", "getattr(axi, name).eq(value + 1)", "constants"),
    )

    def specify(self, m: Module) -> None:
        config, dut = self.config, self.dut
        axi, bits = dut.axi, beat_bits(config)
        burst = {name: self.peek(f"bursts.burst__{name}") for name in ("valid", "ready")}
        payload = self.peek("bursts.burst__payload", bits + 8)
        given = {name: self.peek(f"bursts.command__{name}") for name in ("valid", "ready")}
        others = Cat(axi.arid, axi.arlock, axi.arcache, axi.arprot, axi.arqos)
        self.require(
            valid=(axi.arvalid == burst["valid"]) & (axi.arready == burst["ready"]),
            address=axi.araddr == payload[:bits] << byte_bits(config),
            length=axi.arlen == payload[bits:],
            constants=(axi.arsize == byte_bits(config)) & (axi.arburst == INCREMENT),
            zeros=others == 0,
            given=(given["valid"] == dut.command.valid) & (given["ready"] == dut.command.ready),
            run=self.peek("bursts.command__payload", 2 * bits) == dut.command.payload.as_value(),
            flush=self.peek("bursts.flush") == dut.flush,
            data=(dut.data.valid == axi.rvalid)
            & (axi.rready == dut.data.ready)
            & (dut.data.payload.data == axi.rdata)
            & (dut.data.payload.error == axi.rresp[1]),
            answered=self.peek("bursts.ended") == (axi.rvalid & axi.rready & axi.rlast),
            idle=dut.idle == self.peek("bursts.idle"),
        )


class WriteBus(Checker):
    """Of every run the bus gets every beat once, in order; WLAST is on the beats where its bursts end.

    Both halves take a run in the same cycle. A beat that waits stays. Every answer is taken.
    """

    name = "AXI4 writes: every beat once, in order, WLAST at the bursts' ends; no deadlock"
    component = "axi_write"
    builds = BUILDS
    faults = (
        Fault("axi_write", "last | place.all()", "last", "last"),
        Fault("axi_write", "(~axi.wvalid | axi.wready)", "1", "stays"),
        Fault("axi_write", "left.eq(left - 1)", "left.eq(left - 2)", "left"),
        Fault("axi_write", "place.eq(self.command.payload.address)", "place.eq(0)", "place"),
        Fault("axi_write", "self.command.valid & free", "self.command.valid", "both"),
        Fault("axi_write", "bursts.idle & ~active & ~axi.wvalid", "bursts.idle & ~active", "idle"),
        Fault("axi_write", "axi.bresp[ERROR_BIT]", "axi.bresp[0]", "answers"),
    )

    def specify(self, m: Module) -> None:
        config, dut = self.config, self.dut
        axi, bits, block = dut.axi, beat_bits(config), bits_for(BURST_BEATS)
        begins = dut.command.valid & dut.command.ready
        taken, moved = dut.data.valid & dut.data.ready, axi.wvalid & axi.wready
        burst = {name: self.peek(f"bursts.burst__{name}") for name in ("valid", "ready")}
        payload = self.peek("bursts.burst__payload", bits + 8)
        handed = self.peek("bursts.command__valid") & self.peek("bursts.command__ready")
        #: Next beat of the run, and beats left of it.
        at, rest = Signal(bits, reset_less=True), Signal(bits + 1)
        with m.If(taken):
            m.d.sync += [at.eq(at + 1), rest.eq(rest - 1)]
        with m.If(begins):
            m.d.sync += [at.eq(dut.command.payload.address), rest.eq(dut.command.payload.count + 1)]
        #: The beat that the bus is offered.
        content, final, held = Signal(config.bus_bits, reset_less=True), Signal(reset_less=True), Signal()
        m.d.sync += held.eq(taken | (held & ~moved))
        with m.If(taken):
            m.d.sync += [content.eq(dut.data.payload), final.eq((rest == 1) | at[:block].all())]
        waited = self.past(m, axi.wvalid & ~axi.wready, "waited") & self.running
        offered = axi.wdata ^ (axi.wlast << config.bus_bits)
        self.require(
            addresses=(axi.awvalid == burst["valid"])
            & (axi.awready == burst["ready"])
            & (axi.awaddr == payload[:bits] << byte_bits(config))
            & (axi.awlen == payload[bits:]),
            constants=(axi.awsize == byte_bits(config)) & (axi.awburst == INCREMENT) & axi.wstrb.all(),
            both=handed == begins,
            run=self.peek("bursts.command__payload", 2 * bits) == dut.command.payload.as_value(),
            active=self.peek("active") == (rest != 0),
            left=(rest == 0) | (self.peek("left", bits) == rest - 1),
            place=(rest == 0) | (self.peek("place", block) == at[:block]),
            ready=dut.data.ready == ((rest != 0) & (~axi.wvalid | axi.wready)),
            valid=axi.wvalid == held,
            data=~held | (axi.wdata == content),
            last=~held | (axi.wlast == final),
            stays=~waited | (axi.wvalid & (offered == self.past(m, offered, "offered"))),
            answers=axi.bready
            & (self.peek("bursts.ended") == axi.bvalid)
            & (dut.error == (axi.bvalid & axi.bresp[1]))
            & ~self.peek("bursts.flush"),
            idle=dut.idle == (self.peek("bursts.idle") & (rest == 0) & ~held),
        )


PROPERTIES: tuple[type[Checker], ...] = (ReadBus, WriteBus)
