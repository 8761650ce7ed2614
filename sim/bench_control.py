"""The registers on AXI4-Lite: a start, its refusals, errors and counters."""

import cocotb
from cocotb.triggers import FallingEdge

from twofold.golden.config import MACHINE_VERSION
from twofold.golden.registers import ID_VALUE, Error, Status, registers
from twofold.sim import settings
from twofold.sim.component import Driver
from twofold.sim.drivers import AxiLiteBus, AxiLiteMaster, pauses

SETTINGS = settings.read()
CONFIG, SEED = SETTINGS["config"], SETTINGS["seed"]
REGISTERS = registers(CONFIG)
timed = cocotb.test(timeout_time=10, timeout_unit="ms")
outside = cocotb.test(timeout_time=10, timeout_unit="ms", skip=not CONFIG.external)
INPUTS = (
    "inference__busy",
    "inference__complete",
    "inference__failed",
    "inference__cycles",
    "inference__passes",
    "loading__between",
    "loading__finished",
    "loading__has_program",
    "loading__has_input",
    "loading__touched",
    "loading__error",
    "loading__error_valid",
    *(("bus", "stalls") if CONFIG.external else ()),
)


class Registers:
    """The component with an AXI4-Lite master; counts the starts that it gives."""

    def __init__(self, dut, pause: float):
        self.driver = Driver(dut)
        self.master = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "axi_"), dut.clk, dut.rst)
        self.starts = 0
        write, read = self.master.write_if, self.master.read_if
        channels = (write.aw_channel, write.w_channel, write.b_channel, read.ar_channel, read.r_channel)
        for number, port in enumerate(channels):
            port.set_pause_generator(pauses(pause, SEED + number))

    async def count(self) -> None:
        while True:
            await FallingEdge(self.driver.dut.clk)
            self.starts += self.driver.get("inference__run")

    async def write(self, name: str, value: int) -> None:
        answer = await self.master.write(REGISTERS[name].address, value.to_bytes(4, "little"))
        assert int(answer.resp) == 0
        await self.driver.step(2)

    async def read(self, name: str) -> int:
        answer = await self.master.read(REGISTERS[name].address, 4)
        assert int(answer.resp) == 0
        await self.driver.step()
        return int.from_bytes(answer.data, "little")

    async def status(self) -> tuple[int, int, int, Error]:
        status = Status.decode(await self.read("STATUS"))
        return status.busy, status.done, status.loaded, status.error

    async def pulse(self, **values: int) -> None:
        """Inputs that stand for one cycle."""
        self.driver.set(**values)
        await self.driver.step()
        self.driver.set(**dict.fromkeys(values, 0))
        await self.driver.step()


@timed
@cocotb.parametrize(pause=[0.0, 0.5])
async def starts_errors_and_counters(dut, pause):
    host = Registers(dut, pause)
    await host.driver.start(*INPUTS)
    host.driver.set(loading__between=1)
    cocotb.start_soon(host.count())
    assert await host.status() == (0, 0, 0, Error.NONE)
    await host.write("CONTROL", 1)
    assert (host.starts, await host.status()) == (0, (0, 0, 0, Error.NOT_LOADED))
    await host.write("CONTROL", 2)
    assert await host.status() == (0, 0, 0, Error.NONE)

    await host.pulse(loading__finished=1, loading__has_program=1, loading__touched=1)
    assert await host.status() == (0, 0, 1, Error.NONE)
    await host.write("CONTROL", 1)
    assert host.starts == 1
    host.driver.set(inference__busy=1)
    assert await host.status() == (1, 0, 1, Error.NONE)
    await host.write("CONTROL", 1)
    assert (host.starts, await host.status()) == (1, (1, 0, 1, Error.BUSY))
    host.driver.set(inference__cycles=123456, inference__passes=789)
    await host.pulse(inference__complete=1)
    host.driver.set(inference__busy=0)
    assert await host.status() == (0, 1, 1, Error.BUSY)
    assert (await host.read("CYCLES"), await host.read("PASSES")) == (123456, 789)

    await host.write("CONTROL", 1)
    assert (host.starts, await host.status()) == (2, (0, 0, 1, Error.NONE)), "A start must clear done and error"
    await host.pulse(inference__complete=1)
    assert await host.status() == (0, 1, 1, Error.NONE)

    host.driver.set(loading__between=0)
    await host.write("CONTROL", 1)
    assert (host.starts, (await host.status())[3]) == (2, Error.BUSY)
    host.driver.set(loading__between=1)
    await host.pulse(loading__error_valid=1, loading__error=int(Error.MAGIC))
    assert await host.status() == (0, 1, 1, Error.MAGIC)
    await host.pulse(loading__finished=1, loading__has_input=1)
    assert (host.starts, await host.status()) == (2, (0, 1, 1, Error.NONE))
    await host.write("MODE", 1)
    assert await host.read("MODE") == 1
    await host.pulse(loading__finished=1, loading__has_input=1, loading__has_program=1)
    assert host.starts == 2
    await host.pulse(loading__finished=1, loading__has_input=1)
    assert host.starts == 3
    await host.pulse(inference__failed=1)
    assert (await host.status())[3] is Error.INSTRUCTION
    await host.pulse(loading__error_valid=1, loading__error=int(Error.CHECKSUM), loading__touched=1)
    assert await host.status() == (0, 0, 0, Error.CHECKSUM)
    await host.pulse(loading__finished=1, loading__has_input=1)
    assert (host.starts, await host.status()) == (3, (0, 0, 0, Error.NOT_LOADED))
    await host.write("MODE", 0)
    await host.pulse(loading__finished=1, loading__has_input=1)
    assert await host.status() == (0, 0, 0, Error.NONE), "An input must not make the machine loaded"
    await host.pulse(inference__complete=1)
    await host.write("CONTROL", 1)
    assert await host.status() == (0, 1, 0, Error.NOT_LOADED), "A start that is refused must leave done alone"


@timed
@cocotb.parametrize(pause=[0.0, 0.5])
async def every_address_answers(dut, pause):
    """Constants and counters at their addresses; elsewhere, and where there is nothing to read or write, SLVERR."""
    host = Registers(dut, pause)
    await host.driver.start(*INPUTS)
    host.driver.set(loading__between=1, inference__cycles=0x89ABCDEF, inference__passes=0x76543210)
    constants = {
        "ID": ID_VALUE,
        "VERSION": MACHINE_VERSION,
        "BUILD": CONFIG.build_hash,
        "SHAPE": CONFIG.rows | CONFIG.cols << 16,
        "STATUS": 0,
        "CYCLES": 0x89ABCDEF,
        "PASSES": 0x76543210,
        "MODE": 0,
        **({"MEMORY": 0, "STALLS": 0} if CONFIG.external else {}),
    }
    values = {REGISTERS[name].address: value for name, value in constants.items()}
    writable = {register.address for register in REGISTERS.values() if register.writable}
    for address in range(0, 256, 4):
        answer = await host.master.read(address, 4)
        got = int(answer.resp), int.from_bytes(answer.data, "little")
        assert got[0] == (0 if address in values else 2), f"read of {address:#x}: {got[0]}"
        assert address not in values or got[1] == values[address], f"{address:#x}: {got[1]:#x}"
        answer = await host.master.write(address, (0 if address in writable else 0xFFFFFFFF).to_bytes(4, "little"))
        assert int(answer.resp) == (0 if address in writable else 2), f"write of {address:#x}"
    for name, value in constants.items():
        assert await host.read(name) == value, name


@outside
async def memory_outside(dut):
    """The page that an inference begins with is its own until the next one begins; bus errors have their own code."""
    host = Registers(dut, 0.3)
    await host.driver.start(*INPUTS)
    host.driver.set(loading__between=1, stalls=0xFEDCBA98)
    await host.pulse(loading__finished=1, loading__has_program=1)
    await host.write("MEMORY", 0x87654FFF)
    assert (await host.read("MEMORY"), await host.read("STALLS")) == (0x87654000, 0xFEDCBA98)
    await host.write("CONTROL", 1)
    await host.write("MEMORY", 0x12345678)
    assert (await host.read("MEMORY"), host.driver.get("base")) == (0x12345000, 0x87654)
    await host.pulse(inference__failed=1, bus=1)
    assert await host.status() == (0, 0, 1, Error.BUS)
    await host.write("CONTROL", 1)
    assert (host.driver.get("base"), await host.status()) == (0x12345, (0, 0, 1, Error.NONE))
    await host.pulse(inference__failed=1)
    assert await host.status() == (0, 0, 1, Error.INSTRUCTION)
