"""The machine on other buses, each run from its bus in Amaranth's simulator; `test_package.py` runs emitted Verilog."""

from dataclasses import replace

import numpy as np
import pytest
from amaranth import Module
from amaranth.lib import wiring
from amaranth.sim import Simulator

from twofold.golden import layers
from twofold.golden.config import ArrayConfig
from twofold.golden.frame import frame
from twofold.golden.image import input_frame, read_outputs
from twofold.golden.isa import End, Section
from twofold.golden.registers import ID_VALUE, REGISTERS, Error, Status, registers
from twofold.hdl.control import Control
from twofold.kit.machine import MachineComponent
from twofold.kit.wishbone import WishboneBridge
from twofold.mapper.compiler import compile_network
from twofold.testing.random_network import random_inputs, random_network

TINY = ArrayConfig(
    name="tiny",
    pe="log",
    rows=2,
    cols=2,
    word_bits=3,
    feature_depth=64,
    weight_depth=64,
    channel_depth=16,
    program_depth=64,
    max_side=4,
)


def address(register):
    return REGISTERS[register].address


@pytest.fixture
def bridged():
    """A bridge before the machine's own registers."""
    m = Module()
    m.submodules.bridge = bridge = WishboneBridge()
    m.submodules.control = control = Control(TINY)
    wiring.connect(m, bridge.axi, control.axi)

    def run(testbench):
        async def whole(ctx):
            await ctx.tick()
            await testbench(ctx, bridge.wb, control)

        simulator = Simulator(m)
        simulator.add_clock(1e-6)
        simulator.add_testbench(whole)
        simulator.run()

    return run


async def begin(ctx, wb, where, value=None, sel=15):
    ctx.set(wb.adr, where >> 2)
    ctx.set(wb.we, value is not None)
    ctx.set(wb.dat_w, value or 0)
    ctx.set(wb.sel, sel)
    ctx.set(wb.cyc, 1)
    ctx.set(wb.stb, 1)


async def access(ctx, wb, where, value=None, sel=15):
    """Whether the access was an error, what was read, and the cycles until its answer."""
    await begin(ctx, wb, where, value, sel)
    for cycles in range(1, 20):
        _, _, ack, err, read = await ctx.tick().sample(wb.ack, wb.err, wb.dat_r)
        if ack or err:
            assert not (ack and err)
            ctx.set(wb.cyc, 0)
            ctx.set(wb.stb, 0)
            return bool(err), read, cycles
    raise TimeoutError("Bridge must answer")


def test_a_bridge_reads_and_writes_registers(bridged):
    found = []

    async def testbench(ctx, wb, control):
        for where, value, sel in (
            (address("ID"), None, 15),
            (address("MODE"), 1, 14),
            (address("MODE"), None, 15),
            (address("MODE"), 1, 15),
            (address("MODE"), None, 15),
            (address("ID"), 5, 15),
            (address("CONTROL"), None, 15),
            (0xFC, None, 15),
            (address("ID"), None, 15),
        ):
            found.append(await access(ctx, wb, where, value, sel))

    bridged(testbench)
    assert [err for err, _, _ in found] == [False] * 5 + [True] * 3 + [False]
    assert [found[n][1] for n in (0, 2, 4, 8)] == [ID_VALUE, 0, 1, ID_VALUE]
    assert {cycles for _, _, cycles in found} == {4}


@pytest.mark.parametrize("after", [1, 2, 3])
def test_an_access_that_is_given_up_is_not_answered(bridged, after):
    """What comes right after it is answered by its own value."""
    answers = []

    async def testbench(ctx, wb, control):
        await begin(ctx, wb, address("ID"))
        for _ in range(after):
            _, _, ack, err = await ctx.tick().sample(wb.ack, wb.err)
            answers.append(ack | err)
        ctx.set(wb.cyc, 0)
        _, _, ack, err = await ctx.tick().sample(wb.ack, wb.err)
        answers.append(ack | err)
        answers.append((await access(ctx, wb, address("VERSION")))[:2])
        answers.append((await access(ctx, wb, address("ID")))[:2])

    bridged(testbench)
    assert answers[:-2] == [0] * (after + 1)
    assert answers[-2:] == [(False, 3), (False, ID_VALUE)]


async def send(ctx, port, beats):
    for number, beat in enumerate(beats):
        ctx.set(port.p.data, beat)
        ctx.set(port.p.last, number + 1 == len(beats))
        ctx.set(port.valid, 1)
        await ctx.tick().until(port.ready)
    ctx.set(port.valid, 0)


async def write(ctx, axi, where, value):
    for signal, content in ((axi.awaddr, where), (axi.wdata, value), (axi.wstrb, 1), (axi.awvalid, 1), (axi.wvalid, 1)):
        ctx.set(signal, content)
    await ctx.tick().until(axi.awready)
    ctx.set(axi.awvalid, 0)
    ctx.set(axi.wvalid, 0)


def test_a_component_runs_a_network_in_an_amaranth_design():
    network = random_network(3, TINY, layers=2, max_side=3)
    image, inputs = compile_network(network, TINY), random_inputs(1, network, 2)
    machine, frames, status = MachineComponent(TINY), [], []

    async def host(ctx):
        axi = machine.axi
        ctx.set(axi.bready, 1)
        await write(ctx, axi, address("MODE"), 1)
        for beats in (image.beats, *(input_frame(image, x) for x in inputs)):
            await send(ctx, machine.i, beats)
        for _ in range(20 * image.cycles):
            await ctx.tick()
            if len(frames) == len(inputs) * len(image.outputs):
                break
        await ctx.tick().repeat(20)
        ctx.set(axi.araddr, address("STATUS"))
        ctx.set(axi.arvalid, 1)
        status.append(Status.decode((await ctx.tick().sample(axi.rdata).until(axi.rvalid))[0]))

    async def taker(ctx):
        frame = []
        ctx.set(machine.o.ready, 1)
        async for _, _, valid, beat in ctx.tick().sample(machine.o.valid, machine.o.payload):
            if valid:
                frame.append(beat.data)
                if beat.last:
                    frames.append(frame[:])
                    frame.clear()

    simulator = Simulator(machine)
    simulator.add_clock(1e-6)
    simulator.add_testbench(host)
    simulator.add_testbench(taker, background=True)
    simulator.run()
    expected = layers.run(network, inputs)
    count = len(image.outputs)
    for n in range(len(inputs)):
        found = read_outputs(image, frames[n * count : (n + 1) * count])
        for layer, tensor in zip(network.outputs, found, strict=True):
            np.testing.assert_array_equal(tensor, expected[layer.name][n])
    assert len(frames) == len(inputs) * count and (status[0].done, status[0].error) == (True, 0)


def test_a_component_reaches_the_memory_outside_in_an_amaranth_design():
    """It asks for its list there, on the page that MEMORY says, and is told that there is none."""
    config = replace(TINY, memory="axi4", bus_bits=32)
    machine, asked, found = MachineComponent(config), [], []
    image = frame(config, [(Section.PROGRAM, 0, [End().encode(config)])])

    async def host(ctx):
        axi, memory = machine.axi, machine.memory
        ctx.set(axi.bready, 1)
        await write(ctx, axi, registers(config)["MEMORY"].address, 0x12345000)
        await send(ctx, machine.i, image)
        await write(ctx, axi, address("CONTROL"), 1)
        ctx.set(memory.arready, 1)
        asked.append(await ctx.tick().sample(memory.araddr, memory.arlen).until(memory.arvalid))
        for name, value in (("rvalid", 1), ("rresp", 2)):
            ctx.set(getattr(memory, name), value)
        for n in range(asked[0][1] + 1):
            ctx.set(memory.rlast, n == asked[0][1])
            await ctx.tick().until(memory.rready)
        ctx.set(memory.rvalid, 0)
        await ctx.tick().repeat(20)
        ctx.set(axi.araddr, address("STATUS"))
        ctx.set(axi.arvalid, 1)
        found.append(Status.decode((await ctx.tick().sample(axi.rdata).until(axi.rvalid))[0]))

    simulator = Simulator(machine)
    simulator.add_clock(1e-6)
    simulator.add_testbench(host)
    simulator.run()
    assert asked[0][0] == 0x12345000
    assert found == [Status(busy=False, done=False, loaded=True, error=Error.BUS)]
