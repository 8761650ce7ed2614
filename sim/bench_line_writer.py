"""The line writer: each line once, a cycle after its last group, with the lanes that came."""

import random

import cocotb

from twofold.sim import settings
from twofold.sim.compare import equal
from twofold.sim.component import Driver, join, split

SETTINGS = settings.read()
CONFIG, SEED = SETTINGS["config"], SETTINGS["seed"]
timed = cocotb.test(timeout_time=10, timeout_unit="ms")
UNITS = CONFIG.requant_units


@timed
async def lines_are_written_once(dut):
    numbers = random.Random(SEED)
    writer = Driver(dut)
    await writer.start("valid", "place", "last", "address", "activations")
    wanted, got = [], []
    for _ in range(200):
        address = numbers.randrange(CONFIG.feature_depth)
        places = sorted(numbers.sample(range(CONFIG.rows // UNITS), numbers.randint(1, CONFIG.rows // UNITS)))
        line: dict[int, int] = {}
        for place in places:
            values = [numbers.getrandbits(CONFIG.act_bits) for _ in range(UNITS)]
            line |= {place * UNITS + unit: value for unit, value in enumerate(values)}
            last = int(place == places[-1])
            for valid in [0] * numbers.choice((0, 0, 0, 1, 3)) + [1]:
                group = values if valid else [numbers.getrandbits(CONFIG.act_bits) for _ in range(UNITS)]
                writer.set(valid=valid, place=place, last=last, address=address if valid else 0)
                writer.set(activations=join(group, CONFIG.act_bits))
                await writer.step()
                enable = writer.get("write__enable")
                assert writer.get("writing") == int(enable != 0) == int(valid and last)
                if enable:
                    data = split(writer.get("write__data"), CONFIG.act_bits, CONFIG.rows, signed=False)
                    lanes = {n: data[n] for n in range(CONFIG.rows) if enable >> n & 1}
                    got.append((writer.get("write__address"), lanes))
        wanted.append((address, line))
    equal(got, wanted, "Line")
