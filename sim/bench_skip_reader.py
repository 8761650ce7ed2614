"""The skip reader: every group's activations three cycles after it, whatever else its port is taken for."""

import random

import cocotb

from twofold.sim import settings
from twofold.sim.compare import equal
from twofold.sim.component import Driver, join, split

SETTINGS = settings.read()
CONFIG, SEED = SETTINGS["config"], SETTINGS["seed"]
timed = cocotb.test(timeout_time=10, timeout_unit="ms")
UNITS = CONFIG.requant_units


def activations(line: list[int], place: int, is_signed: int) -> list[int]:
    """A group's, as numbers."""
    lanes = line[place * UNITS : (place + 1) * UNITS]
    return [lane - (is_signed and lane >> (CONFIG.act_bits - 1)) * (1 << CONFIG.act_bits) for lane in lanes]


@timed
async def groups_get_their_lanes(dut):
    numbers = random.Random(SEED)
    reader = Driver(dut)
    await reader.start("on", "is_signed", "first", "place", "taken", "read__line")
    for on, is_signed in ((1, 0), (0, 1), (1, 1)):
        reader.set(on=on, is_signed=is_signed, first=0)
        await reader.step(4)
        wanted, got, taken, reads = [], [], 0, 0
        for _ in range(150):
            line = [numbers.getrandbits(CONFIG.act_bits) for _ in range(CONFIG.rows)]
            for number in range(numbers.randint(2, 5)):
                taken = int(not taken and numbers.random() < 0.5)
                place = numbers.randrange(CONFIG.rows // UNITS)
                reader.set(first=int(number == 0), place=place, taken=taken)
                await reader.settle()
                read = reader.get("read__enable")
                assert not (read and taken)
                reads += read
                wanted.append(activations(line if on else [0] * CONFIG.rows, place, is_signed))
                await reader.step()
                if read:
                    reader.set(read__line=join(line, CONFIG.act_bits))
                await reader.settle()
                got.append(split(reader.get("activations"), CONFIG.act_bits + 1, UNITS))
        equal(got[2:], wanted[:-2], f"Skip {on}, signed {is_signed}, activations of group")
        assert reads == 150 * on
