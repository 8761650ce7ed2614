"""AXI4-Lite registers: identity, start, status, error, counters."""

from collections.abc import Mapping

from amaranth import Module, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from twofold.golden.config import MACHINE_VERSION, ArrayConfig
from twofold.golden.registers import CONTROL, ID_VALUE, MODE, SHAPE, STATUS, Error, registers
from twofold.hdl.interfaces import INFERENCE, LOADING
from twofold.hdl.layouts import record_layout
from twofold.hdl.transfer_list import BASE_BITS, PAGE_BITS

OKAY, SLVERR = 0, 2
ADDRESS_BITS = 8

#: The AXI4-Lite slave's signals and their widths, as seen from the slave.
AXI_LITE = wiring.Signature(
    {
        "awaddr": In(ADDRESS_BITS),
        "awprot": In(3),
        "awvalid": In(1),
        "awready": Out(1),
        "wdata": In(32),
        "wstrb": In(4),
        "wvalid": In(1),
        "wready": Out(1),
        "bresp": Out(2),
        "bvalid": Out(1),
        "bready": In(1),
        "araddr": In(ADDRESS_BITS),
        "arprot": In(3),
        "arvalid": In(1),
        "arready": Out(1),
        "rdata": Out(32),
        "rresp": Out(2),
        "rvalid": Out(1),
        "rready": In(1),
    }
)


class Control(wiring.Component):
    """Register file on AXI4-Lite; one read and one write under way at a time.

    An address that is not a register's, a read of a write-only or a write of a read-only one answers SLVERR
    and changes nothing. A write with byte 0 not strobed answers OKAY and changes nothing.

    Parameters
    ----------
    config
        The build.

    Members
    -------
    axi : AXI4-Lite slave
    inference : In(`INFERENCE`)
        The sequencer.
    loading : In(`LOADING`)
        The loader.
    base : Out(BASE_BITS), bus : In(1), stalls : In(32)
        Page of the memory outside for the inference that runs; whether it answered an error; what STALLS reads
        (builds with one only).
    """

    def __init__(self, config: ArrayConfig):
        self.config = config
        self.registers = registers(config)
        outside = {"base": Out(BASE_BITS), "bus": In(1), "stalls": In(32)} if config.external else {}
        super().__init__({"axi": Out(AXI_LITE), "inference": In(INFERENCE), "loading": In(LOADING)} | outside)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        done = Signal()
        loaded = Signal()
        error = Signal(8)
        automatic = Signal()
        memory = Signal(BASE_BITS)
        outside = {"MEMORY": memory << PAGE_BITS, "STALLS": self.stalls} if self.config.external else {}
        self._reads(
            m,
            outside
            | {
                "ID": ID_VALUE,
                "VERSION": MACHINE_VERSION,
                "BUILD": self.config.build_hash,
                "SHAPE": SHAPE.pack({"rows": self.config.rows, "cols": self.config.cols}),
                "STATUS": self._status(m, done, loaded, error),
                "CYCLES": self.inference.cycles,
                "PASSES": self.inference.passes,
                "MODE": automatic,
            },
        )
        start, clear = self._writes(m, automatic, memory)

        loading, inference = self.loading, self.inference
        with m.If(clear):
            m.d.sync += error.eq(Error.NONE)
        with m.If(loading.finished):
            m.d.sync += error.eq(Error.NONE)
            with m.If(loading.has_program):
                m.d.sync += loaded.eq(1)
        with m.If(loading.error_valid):
            m.d.sync += error.eq(loading.error)
            with m.If(loading.touched):
                m.d.sync += loaded.eq(0)
        begin = start | (loading.finished & automatic & loading.has_input & ~loading.has_program)
        with m.If(begin):
            with m.If(~loaded):
                m.d.sync += error.eq(Error.NOT_LOADED)
            with m.Elif(inference.busy | inference.run | (start & ~loading.between)):
                m.d.sync += error.eq(Error.BUSY)
            with m.Else():
                m.d.sync += [inference.run.eq(1), done.eq(0), error.eq(Error.NONE)]
                if self.config.external:
                    m.d.sync += self.base.eq(memory)
        with m.If(inference.run):
            m.d.sync += inference.run.eq(0)
        with m.If(inference.complete):
            m.d.sync += done.eq(1)
        with m.If(inference.failed):
            m.d.sync += error.eq(Error.INSTRUCTION)
            if self.config.external:
                with m.If(self.bus):
                    m.d.sync += error.eq(Error.BUS)
        return m

    def _reads(self, m: Module, values: Mapping[str, Value]) -> None:
        """The read channels: a value for each register that can be read."""
        axi = self.axi
        m.d.comb += axi.arready.eq(~axi.rvalid)
        with m.If(axi.rvalid & axi.rready):
            m.d.sync += axi.rvalid.eq(0)
        with m.If(axi.arvalid & axi.arready):
            m.d.sync += [axi.rvalid.eq(1), axi.rresp.eq(OKAY)]
            with m.Switch(axi.araddr):
                for name, register in self.registers.items():
                    if register.readable:
                        with m.Case(register.address):
                            m.d.sync += axi.rdata.eq(values[name])
                with m.Default():
                    m.d.sync += [axi.rdata.eq(0), axi.rresp.eq(SLVERR)]

    def _writes(self, m: Module, automatic: Signal, memory: Signal) -> tuple[Signal, Signal]:
        """The write channels; returns whether CONTROL is told to start, and to clear the error."""
        axi = self.axi
        writing = Signal()
        m.d.comb += [
            writing.eq(axi.awvalid & axi.wvalid & ~axi.bvalid),
            axi.awready.eq(writing),
            axi.wready.eq(writing),
        ]
        with m.If(axi.bvalid & axi.bready):
            m.d.sync += axi.bvalid.eq(0)
        start = Signal()
        clear = Signal()
        with m.If(writing):
            m.d.sync += [axi.bvalid.eq(1), axi.bresp.eq(OKAY)]
            with m.Switch(axi.awaddr):
                with m.Case(self.registers["CONTROL"].address):
                    with m.If(axi.wstrb[0]):
                        control = data.View(record_layout(CONTROL), axi.wdata[: CONTROL.width])
                        m.d.comb += [start.eq(control.start), clear.eq(control.clear)]
                with m.Case(self.registers["MODE"].address):
                    with m.If(axi.wstrb[0]):
                        m.d.sync += automatic.eq(axi.wdata[: MODE.width])
                if self.config.external:
                    with m.Case(self.registers["MEMORY"].address):
                        with m.If(axi.wstrb[0]):
                            m.d.sync += memory.eq(axi.wdata[PAGE_BITS:])
                with m.Default():
                    m.d.sync += axi.bresp.eq(SLVERR)
        return start, clear

    def _status(self, m: Module, done: Signal, loaded: Signal, error: Signal) -> Value:
        status = Signal(32)
        parts = {"busy": self.inference.busy | self.inference.run, "done": done, "loaded": loaded, "error": error}
        position = 0
        for name, width in STATUS.widths.items():
            if name in parts:
                m.d.comb += status[position : position + width].eq(parts[name])
            position += width
        return status
