"""The reading half of the AXI4 master: every beat of every run, in order, whatever the bus' pace; errors are told."""

import random

import cocotb

from twofold.golden.transfers import BURST_BYTES
from twofold.hdl.axi import beat_bits
from twofold.sim import settings
from twofold.sim.axi_memory import SIZE, AxiMemory
from twofold.sim.compare import equal
from twofold.sim.component import Driver

SETTINGS = settings.read()
CONFIG, SEED = SETTINGS["config"], SETTINGS["seed"]
BYTES = CONFIG.bus_bits // 8
timed = cocotb.test(timeout_time=10, timeout_unit="ms")


def draw(numbers: random.Random) -> tuple[int, int]:
    """First beat and number of beats of a run."""
    count = numbers.choice((1, 2, numbers.randint(1, 20), numbers.randint(200, 400)))
    return numbers.choice((0, 255, numbers.randrange((1 << beat_bits(CONFIG)) - count))), count


@timed
@cocotb.parametrize(pause=[0.0, 0.4])
async def runs_come_in_order(dut, pause):
    numbers = random.Random(SEED)
    reader = Driver(dut)
    memory = AxiMemory(dut, "axi_", "read")
    await reader.start("command__valid", "command__payload", "flush", "data__ready")
    memory.fill(numbers)
    memory.pause(pause, SEED)
    memory.bad = range(SIZE // 2, SIZE // 2 + 64)
    runs = [draw(numbers) for _ in range(8)]
    expected, got, given, begun = [], [], 0, []
    for first, count in runs:
        for beat in range(first, first + count):
            place = beat * BYTES % SIZE
            wrong = place in memory.bad
            expected.append((None if wrong else int.from_bytes(memory.ram.read(place, BYTES), "little"), wrong))
    for _ in range(20_000):
        run = runs[given] if given < len(runs) else (0, 1)
        reader.set(command__valid=given < len(runs), command__payload=run[0] | (run[1] - 1) << beat_bits(CONFIG))
        reader.set(data__ready=numbers.random() >= pause)
        await reader.settle()
        given += reader.get("command__valid") and reader.get("command__ready")
        if reader.get("axi__arvalid") and reader.get("axi__arready"):
            begun.append((reader.get("axi__araddr"), reader.get("axi__arlen") + 1))
        if reader.get("data__valid") and reader.get("data__ready"):
            payload = reader.get("data__payload")
            wrong = payload >> CONFIG.bus_bits
            got.append((None if wrong else payload & ((1 << CONFIG.bus_bits) - 1), bool(wrong)))
        await reader.step()
        if given == len(runs) and reader.get("idle"):
            break
    equal(got, expected, "beat")
    assert all(address % BURST_BYTES + count * BYTES <= BURST_BYTES for address, count in begun)


@timed
async def what_is_flushed_is_answered(dut):
    numbers = random.Random(SEED)
    reader = Driver(dut)
    memory = AxiMemory(dut, "axi_", "read")
    await reader.start("command__valid", "command__payload", "flush", "data__ready")
    memory.pause(0.3, SEED)
    for _ in range(6):
        first, last = numbers.getrandbits(beat_bits(CONFIG)), 1999 | numbers.getrandbits(beat_bits(CONFIG))
        reader.set(command__valid=1, command__payload=first | last << beat_bits(CONFIG), data__ready=1)
        await reader.step()
        reader.set(command__valid=0)
        asked = came = 0
        for cycle in range(3000):
            reader.set(flush=cycle >= numbers.randint(3, 40))
            await reader.settle()
            asked += (reader.get("axi__arlen") + 1) * (reader.get("axi__arvalid") & reader.get("axi__arready"))
            came += reader.get("data__valid")
            await reader.step()
            if reader.get("idle"):
                break
        assert asked == came <= last
        reader.set(flush=0)
