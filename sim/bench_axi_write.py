"""The writing half of the AXI4 master: every beat of every run at its place, at any pace; errors are told."""

import random

import cocotb

from twofold.golden.transfers import BURST_BYTES
from twofold.hdl.axi import beat_bits
from twofold.sim import settings
from twofold.sim.axi_memory import SIZE, AxiMemory
from twofold.sim.bench_axi_read import draw
from twofold.sim.component import Driver

SETTINGS = settings.read()
CONFIG, SEED = SETTINGS["config"], SETTINGS["seed"]
BYTES = CONFIG.bus_bits // 8
timed = cocotb.test(timeout_time=10, timeout_unit="ms")


@timed
@cocotb.parametrize(pause=[0.0, 0.4])
async def runs_are_written(dut, pause):
    numbers = random.Random(SEED)
    writer = Driver(dut)
    memory = AxiMemory(dut, "axi_", "write")
    await writer.start("command__valid", "command__payload", "data__valid", "data__payload")
    memory.fill(numbers)
    memory.pause(pause, SEED)
    held = bytearray(memory.ram.read(0, SIZE))
    memory.bad = range(SIZE // 2, SIZE // 2 + 64)
    runs = [draw(numbers) for _ in range(8)] + [(memory.bad.start // BYTES, 16)]
    beats, bad_bursts = [], 0
    for first, count in runs:
        for beat in range(first, first + count):
            data = numbers.randbytes(BYTES)
            place = beat * BYTES % SIZE
            if place not in memory.bad:
                held[place : place + BYTES] = data
            beats.append(int.from_bytes(data, "little"))
    given = at = errors = 0
    for _ in range(20_000):
        run = runs[given] if given < len(runs) else (0, 1)
        writer.set(command__valid=given < len(runs), command__payload=run[0] | (run[1] - 1) << beat_bits(CONFIG))
        valid = at < len(beats) and numbers.random() >= pause
        writer.set(data__valid=valid, data__payload=beats[at] if at < len(beats) else 0)
        await writer.settle()
        given += writer.get("command__valid") and writer.get("command__ready")
        if writer.get("axi__awvalid") and writer.get("axi__awready"):
            first, count = writer.get("axi__awaddr"), writer.get("axi__awlen") + 1
            assert first % BURST_BYTES + count * BYTES <= BURST_BYTES
            places = range(first % SIZE, first % SIZE + count * BYTES, BYTES)
            bad_bursts += any(place in memory.bad for place in places)
        at += valid and writer.get("data__ready")
        errors += writer.get("error")
        await writer.step()
        if given == len(runs) and writer.get("idle"):
            break
    assert at == len(beats)
    assert memory.ram.read(0, SIZE) == bytes(held)
    assert errors == bad_bursts > 0
