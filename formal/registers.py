"""The registers obey AXI4-Lite and answer as docs/machine.md says."""

from amaranth import Cat, Const, Module, Mux, Signal, Value

from twofold.formal.checker import Checker
from twofold.formal.faults import Fault
from twofold.golden.config import MACHINE_VERSION
from twofold.golden.registers import ID_VALUE, Error, registers
from twofold.hdl.transfer_list import BASE_BITS, PAGE_BITS

OKAY, SLVERR = 0, 2


class _Registers(Checker):
    component = "control"
    short: tuple[str, ...] = ("log_4x4",)

    def handshakes(self, m: Module) -> None:
        axi = self.dut.axi
        self.write = Signal(name="write")
        self.read = Signal(name="read")
        m.d.comb += [self.write.eq(axi.awvalid & axi.awready), self.read.eq(axi.arvalid & axi.arready)]


class AxiProtocol(_Registers):
    """An answer stands unchanged until it is taken; one for every request, none without; address and data together.

    A request waits for nothing but that the answer before is taken, and is answered in the next cycle.
    """

    name = "AXI4-Lite: the protocol"
    faults = (
        Fault("control", "with m.If(axi.rvalid & axi.rready):", "with m.If(axi.rvalid):", "read_stays"),
        Fault("control", "axi.arready.eq(~axi.rvalid)", "axi.arready.eq(1)", "read_stable"),
        Fault("control", "axi.awvalid & axi.wvalid & ~axi.bvalid", "axi.awvalid & ~axi.bvalid", "together"),
        Fault(
            "control",
            "axi.bvalid.eq(1), axi.bresp.eq(OKAY)",
            "axi.bvalid.eq(axi.wdata[0]), axi.bresp.eq(OKAY)",
            "write_answered",
        ),
    )

    def specify(self, m: Module) -> None:
        self.handshakes(m)
        axi = self.dut.axi
        pending = {"write": Signal(2, name="writes"), "read": Signal(2, name="reads")}
        for name, request, valid, ready, payload in (
            ("write", self.write, axi.bvalid, axi.bready, axi.bresp),
            ("read", self.read, axi.rvalid, axi.rready, Cat(axi.rresp, axi.rdata)),
        ):
            count = pending[name]
            m.d.sync += count.eq(count + request - (valid & ready))
            waited = self.past(m, valid & ~ready, f"{name}_waited") & self.running
            before = self.past(m, payload, f"{name}_payload")
            asked = self.past(m, request, f"{name}_asked") & self.running
            self.require(
                **{
                    f"{name}_stays": ~waited | valid,
                    f"{name}_stable": ~waited | (payload == before),
                    f"{name}_once": count <= 1,
                    f"{name}_for_request": valid == (count != 0),
                    f"{name}_answered": ~asked | valid,
                }
            )
        self.require(
            together=(axi.awvalid & axi.awready) == (axi.wvalid & axi.wready),
            write_waits=~(axi.awvalid & axi.wvalid & ~axi.awready) | axi.bvalid,
            read_waits=~(axi.arvalid & ~axi.arready) | axi.rvalid,
        )


class AxiAnswers(_Registers):
    """SLVERR exactly where the register map says, every register's value, and no change by what answers SLVERR."""

    name = "AXI4-Lite: the register map"
    faults: tuple[Fault, ...] = (
        Fault("control", "axi.rdata.eq(0), axi.rresp.eq(SLVERR)", "axi.rdata.eq(0)", "read_response"),
        Fault(
            "control",
            "                    m.d.sync += axi.bresp.eq(SLVERR)",
            "                    pass",
            "write_response",
        ),
        Fault("control", '"PASSES": self.inference.passes,', '"PASSES": self.inference.cycles,', "value"),
        Fault("control", "automatic.eq(axi.wdata[: MODE.width])", "automatic.eq(axi.wdata[MODE.width :])", "mode"),
        Fault("control", "            with m.If(~loaded):", "            with m.If(0):", "loaded_only"),
        Fault("control", "m.d.sync += inference.run.eq(0)", "pass", "run_once"),
    )

    def specify(self, m: Module) -> None:
        self.handshakes(m)
        config, dut, axi = self.config, self.dut, self.dut.axi
        known_registers = registers(config)
        done, loaded, automatic = self.peek("done"), self.peek("loaded"), self.peek("automatic")
        error = self.peek("error", 8)
        status = Cat(dut.inference.busy | dut.inference.run, done, loaded, Const(0, 5), error)
        values = {
            "ID": ID_VALUE,
            "VERSION": MACHINE_VERSION,
            "BUILD": config.build_hash,
            "SHAPE": config.cols << 16 | config.rows,
            "STATUS": status,
            "CYCLES": dut.inference.cycles,
            "PASSES": dut.inference.passes,
            "MODE": automatic,
        }
        if config.external:
            memory = self.peek("memory", BASE_BITS)
            values |= {"MEMORY": memory << PAGE_BITS, "STALLS": dut.stalls}
        readable = {one.address: name for name, one in known_registers.items() if one.readable}
        writable = {one.address: name for name, one in known_registers.items() if one.writable}
        assert set(values) == set(readable.values())
        assert set(writable.values()) == {"CONTROL", "MODE"} | ({"MEMORY"} if config.external else set())
        value = Signal(32)
        known = Signal()
        m.d.comb += known.eq(0)
        for address, name in readable.items():
            with m.If(axi.araddr == address):
                m.d.comb += [known.eq(1), value.eq(values[name])]
        can_write = Signal()
        m.d.comb += can_write.eq(Cat(axi.awaddr == address for address in writable).any())
        expected, response = Signal(32, reset_less=True), Signal(2, reset_less=True)
        written = Signal(2, reset_less=True)
        with m.If(self.read):
            m.d.sync += [expected.eq(value), response.eq(Mux(known, OKAY, SLVERR))]
        with m.If(self.write):
            m.d.sync += written.eq(Mux(can_write, OKAY, SLVERR))
        self.require(
            read_response=~axi.rvalid | (axi.rresp == response),
            value=~axi.rvalid | (axi.rdata == expected),
            write_response=~axi.bvalid | (axi.bresp == written),
        )

        strobed = self.write & axi.wstrb[0]
        control = strobed & (axi.awaddr == known_registers["CONTROL"].address)
        start = control & axi.wdata[0]
        events = (
            dut.inference.complete
            | dut.inference.failed
            | dut.loading.finished
            | dut.loading.error_valid
            | dut.inference.run
        )
        quiet = self.past(m, ~events & ~(self.write & can_write), "quiet") & self.running
        state = Cat(done, loaded, automatic, error)
        unchanged = state == self.past(m, state, "state")
        to_mode = self.past(m, strobed & (axi.awaddr == known_registers["MODE"].address), "to_mode") & self.running
        data = self.past(m, axi.wdata[0], "data")
        automatic_start = dut.loading.finished & automatic & dut.loading.has_input & ~dut.loading.has_program
        allowed = loaded & ~dut.inference.busy & ~dut.inference.run & (~start | dut.loading.between)
        begins = (start | automatic_start) & allowed
        refused = self.past(m, start & ~allowed & ~dut.inference.failed, "refused") & self.running
        code = self.past(m, Mux(loaded, Error.BUSY, Error.NOT_LOADED), "code")
        self.require(
            unchanged=~quiet | unchanged,
            mode=~self.running | (automatic == Mux(to_mode, data, self.past(m, automatic, "automatic"))),
            loaded_only=~(self.running & dut.inference.run) | self.past(m, loaded, "loaded"),
            run_once=~(self.running & dut.inference.run)
            | ~self.past(m, dut.inference.run | dut.inference.busy, "run_or_busy"),
            run=~self.running | (dut.inference.run == self.past(m, begins, "begins")),
            refused=~refused | (error == code),
        )
        if config.external:
            self._outside(m, memory, strobed & (axi.awaddr == known_registers["MEMORY"].address), begins, error)

    def _outside(self, m: Module, memory: Signal, to_memory: Value, begins: Value, error: Signal) -> None:
        """The page that is written is an inference's from its start on; an error of the bus is told from others."""
        dut = self.dut
        page = self.past(m, dut.axi.wdata[PAGE_BITS:], "page")
        before = self.past(m, memory, "memory")
        failed = self.past(m, dut.inference.failed, "failed") & self.running
        code = self.past(m, Mux(dut.bus, Error.BUS, Error.INSTRUCTION), "failed_code")
        self.require(
            memory=~self.running | (memory == Mux(self.past(m, to_memory, "to_memory"), page, before)),
            base=~self.running
            | (dut.base == Mux(self.past(m, begins, "begins_page"), before, self.past(m, dut.base, "base"))),
            bus=~failed | (error == code),
        )


class OutsideProtocol(AxiProtocol):
    """The same of builds with a memory outside."""

    name = "AXI4-Lite of a memory outside: the protocol"
    builds = "outside"
    short = ()


class OutsideAnswers(AxiAnswers):
    """The same of builds with a memory outside, and the page that an inference has from its start on."""

    name = "AXI4-Lite of a memory outside: the register map"
    builds = "outside"
    short = ()
    faults = (
        Fault("control", "self.base.eq(memory)", "self.base.eq(memory + 1)", "base"),
        Fault("control", "memory.eq(axi.wdata[PAGE_BITS:])", "self.base.eq(axi.wdata[PAGE_BITS:])", "memory"),
        Fault("control", "with m.If(self.bus):", "with m.If(~self.bus):", "bus"),
    )


PROPERTIES: tuple[type[Checker], ...] = (AxiProtocol, AxiAnswers, OutsideProtocol, OutsideAnswers)
