"""A host for cocotb benches: loads images, runs inferences, reads registers, all through the machine's AXI ports."""

import logging
import random
import warnings
from collections.abc import Iterator, Sequence

from cocotb.clock import Clock
from cocotb.triggers import RisingEdge, Timer

from twofold.golden.registers import REGISTERS, Error, Status
from twofold.sim.inference import Inference
from twofold.sim.runner import PERIOD_NS

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    from cocotbext.axi import AxiLiteBus, AxiLiteMaster, AxiStreamBus, AxiStreamSink, AxiStreamSource

POLL_CYCLES = 20


class Host:
    """Clock, reset and the three AXI ports of a machine.

    Parameters
    ----------
    dut
        The machine.
    pause
        Probability that a stream or an AXI4-Lite channel pauses in a cycle.
    seed
        Of the pauses.
    """

    def __init__(self, dut, *, pause: float = 0.0, seed: int = 1):
        self.dut = dut
        dut.rst.value = 1
        Clock(dut.clk, PERIOD_NS, unit="ns").start()
        self.source = AxiStreamSource(AxiStreamBus.from_prefix(dut, "s_axis"), dut.clk, dut.rst)
        self.sink = AxiStreamSink(AxiStreamBus.from_prefix(dut, "m_axis"), dut.clk, dut.rst)
        self.registers = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axil"), dut.clk, dut.rst)
        write, read = self.registers.write_if, self.registers.read_if
        channels = (write.aw_channel, write.w_channel, write.b_channel, read.ar_channel, read.r_channel)
        for port in (self.source, self.sink, *channels, write, read):
            port.log.setLevel(logging.WARNING)
        if pause:
            for number, port in enumerate((self.source, self.sink, *channels)):
                port.set_pause_generator(pauses(pause, seed * 16 + number))

    async def reset(self) -> None:
        """Holds reset for two cycles."""
        self.dut.rst.value = 1
        await self.wait(2)
        self.dut.rst.value = 0
        await self.wait(2)

    async def wait(self, cycles: int) -> None:
        """Lets cycles pass; ends just after a rising edge."""
        if cycles > 1:
            await Timer((cycles - 1) * PERIOD_NS, unit="ns")
        await RisingEdge(self.dut.clk)

    async def send(self, beats: Sequence[int]) -> Error:
        """Sends a frame whole.

        Returns
        -------
        The error in the status register once the machine has taken it.
        """
        await self.source.send(b"".join(beat.to_bytes(4, "little") for beat in beats))
        await self.source.wait()
        await self.wait(2)
        return Status.decode(await self.status()).error

    async def access(self, address: int, value: int | None = None) -> tuple[int, int]:
        """Reads (no value given) or writes 32 bits.

        Returns
        -------
        AXI response, and the value read.
        """
        if value is None:
            answer = await self.registers.read(address, 4)
            return int(answer.resp), int.from_bytes(answer.data, "little")
        return int((await self.registers.write(address, value.to_bytes(4, "little"))).resp), 0

    async def read(self, name: str) -> int:
        """Value of a register by name."""
        response, value = await self.access(REGISTERS[name].address)
        assert response == 0, f"Reading {name} answered {response}"
        return value

    async def control(self, value: int) -> None:
        """Writes CONTROL."""
        response, _ = await self.access(REGISTERS["CONTROL"].address, value)
        assert response == 0, f"Writing CONTROL answered {response}"

    async def status(self) -> int:
        """The status register."""
        return await self.read("STATUS")

    async def finish(self, limit: int = 1_000_000) -> Inference:
        """Waits until the machine is not busy.

        Raises
        ------
        TimeoutError
            If it still is after `limit` cycles.
        """
        for _ in range(-(-limit // POLL_CYCLES)):
            status = await self.status()
            if not Status.decode(status).busy:
                break
            await self.wait(POLL_CYCLES)
        else:
            raise TimeoutError(f"Machine is busy after {limit} cycles")
        frames = []
        while not self.sink.empty():
            frames.append(await self.receive())
        # Where the sink pauses after a frame's last beat, it is active until it goes on.
        for _ in range(POLL_CYCLES):
            if not self.sink.active:
                break
            await self.wait(1)
        assert not self.sink.active, "Output frame has no last beat"
        return Inference(tuple(frames), status, await self.read("CYCLES"), await self.read("PASSES"))

    async def receive(self) -> tuple[int, ...]:
        """Beats of the next output frame."""
        data = bytes((await self.sink.recv()).tdata)
        return tuple(int.from_bytes(data[n : n + 4], "little") for n in range(0, len(data), 4))

    async def infer(self, beats: Sequence[int] = ()) -> Inference:
        """Sends an input (if given), runs an inference and takes its output."""
        if beats:
            error = await self.send(beats)
            assert error is Error.NONE, f"Input was refused: {error.name}"
        await self.control(1)
        return await self.finish()


def pauses(probability: float, seed: int) -> Iterator[bool]:
    """Endless random pauses."""
    numbers = random.Random(seed)
    while True:
        yield numbers.random() < probability
