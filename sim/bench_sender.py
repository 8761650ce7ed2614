"""The sender: lines become beats, one frame a request, whatever the host's pace."""

import random

import cocotb

from twofold.golden.frame import split as beats_of
from twofold.golden.isa import Output, Section, line_beats
from twofold.sim import settings
from twofold.sim.compare import equal
from twofold.sim.component import Driver, struct

SETTINGS = settings.read()
CONFIG, SEED = SETTINGS["config"], SETTINGS["seed"]
timed = cocotb.test(timeout_time=10, timeout_unit="ms")


@timed
@cocotb.parametrize(pause=[0.0, 0.6])
async def frames_hold_their_lines(dut, pause):
    numbers = random.Random(SEED)
    sender = Driver(dut)
    await sender.start("send__valid", "send__payload", "feature__line", "o__ready")
    memory = [numbers.getrandbits(CONFIG.feature_bits) for _ in range(CONFIG.feature_depth)]
    width = line_beats(CONFIG, Section.FEATURE)
    for _ in range(10):
        count = numbers.choice((1, 2, numbers.randint(1, 20)))
        address = numbers.randrange(CONFIG.feature_depth - count + 1)
        expected = [beat for line in memory[address : address + count] for beat in beats_of(line, width)]
        assert sender.get("send__ready")
        sender.set(send__valid=1, send__payload=struct(Output.record(CONFIG), address=address, count=count - 1))
        got: list[tuple[int, int, int]] = []
        for _ in range(2000):
            sender.set(o__ready=numbers.random() >= pause)
            await sender.settle()
            if sender.get("o__valid") and dut.o__ready.value:
                payload = sender.get("o__payload")
                got.append((payload & 0xFFFFFFFF, payload >> 32, sender.get("sent")))
            read = sender.get("feature__address")
            await sender.step()
            sender.set(send__valid=0, feature__line=memory[read % CONFIG.feature_depth])
            if got and got[-1][1]:
                break
        last = [int(n == len(expected) - 1) for n in range(len(expected))]
        equal(got, list(zip(expected, last, last, strict=True)), f"Lines {address} to {address + count - 1}, beat")
        await sender.step()
