"""The requantiser: reads a bank in order, adds a skip, writes each line once and whole, in the specified time."""

import random
from fractions import Fraction

import cocotb

from twofold.golden.config import bits_for
from twofold.golden.isa import Channel, Drain
from twofold.sim import settings
from twofold.sim.compare import equal
from twofold.sim.component import Driver, join, split, struct

SETTINGS = settings.read()
CONFIG, SEED = SETTINGS["config"], SETTINGS["seed"]
timed = cocotb.test(timeout_time=10, timeout_unit="ms")
CHANNEL, DRAIN = Channel.record(CONFIG), Drain.record(CONFIG)
UNITS = CONFIG.requant_units
LINES = 1 << DRAIN["address"].width


def draw(numbers: random.Random) -> dict[str, int]:
    """A drain of a random rectangle."""
    width = numbers.randint(1, 6)
    low = numbers.choice((0, -(1 << (CONFIG.act_bits - 1))))
    return {
        "width": width,
        "height": numbers.randint(1, min(4, CONFIG.acc_depth // width)),
        "step": numbers.choice((1, 1, 2, 3)),
        "bank": numbers.getrandbits(1),
        "address": numbers.randrange(CONFIG.feature_depth),
        "row_step": numbers.randrange(1, 9),
        "plane": numbers.randrange(64, 99),
        "lane": numbers.randrange(0, CONFIG.rows, UNITS),
        "groups": numbers.randrange(CONFIG.cols // UNITS),
        "channels": numbers.randrange(CONFIG.channel_depth - CONFIG.cols // UNITS + 1),
        "low": low,
        "high": low + (1 << CONFIG.act_bits) - 1,
        "skip": numbers.getrandbits(1),
        "skip_offset": numbers.choice((0, numbers.randrange(CONFIG.feature_depth))),
        "skip_shift": numbers.randint(-8, 3),
        "skip_signed": numbers.getrandbits(1),
    }


def expected(drain: dict[str, int], banks, channels, memory) -> list[tuple[int, dict[int, int]]]:
    """Line, and activation of each of its lanes that is written, of every write in order."""
    writes: list[tuple[int, dict[int, int]]] = []
    for position in range(drain["width"] * drain["height"]):
        i, j = divmod(position, drain["width"])
        for column in range((drain["groups"] + 1) * UNITS):
            group, unit = divmod(column, UNITS)
            bias, shift, right = channels[drain["channels"] + group][unit]
            plane, lane = divmod(drain["lane"] + column, CONFIG.rows)
            line = drain["address"] + plane * drain["plane"] + drain["step"] * j
            line += i * (drain["step"] * (drain["width"] - 1) + drain["row_step"])
            value = Fraction((banks[drain["bank"]][position][column] + bias) << shift, 1 << right)
            if drain["skip"]:
                raw = memory[(line + drain["skip_offset"]) % LINES][lane]
                if drain["skip_signed"]:
                    raw -= raw >> (CONFIG.act_bits - 1) << CONFIG.act_bits
                value += raw * Fraction(2) ** drain["skip_shift"]
            # Fraction rounds half to even.
            result = min(max(round(value), drain["low"]), drain["high"]) % (1 << CONFIG.act_bits)
            if column == 0 or lane == 0:
                writes.append((line % LINES, {}))
            writes[-1][1][lane] = result
    return writes


@timed
async def drains_write_what_and_when_specified(dut):
    numbers = random.Random(SEED)
    unit = Driver(dut)
    await unit.start(
        *(f"drain__{name}" for name in ("start", "operands", "bank", "width", "height", "step")),
        "accumulators__line",
        "channel__line",
        "feature__line",
    )
    half = 1 << (CONFIG.acc_width - 2)
    banks = [
        [[numbers.randrange(-half, half) for _ in range(CONFIG.cols)] for _ in range(CONFIG.acc_depth)]
        for _ in range(2)
    ]
    channels = [
        [(numbers.randrange(-999, 999), numbers.randrange(4), numbers.randrange(8, 25)) for _ in range(UNITS)]
        for _ in range(CONFIG.channel_depth)
    ]
    lines = [
        join(
            [struct(CHANNEL, bias=bias, shift0=shift, on0=1, right=right) for bias, shift, right in channel],
            CHANNEL.width,
        )
        for channel in channels
    ]
    # The bench writes nothing back: what a drain reads is what was there before it.
    memory = [[numbers.getrandbits(CONFIG.act_bits) for _ in range(CONFIG.rows)] for _ in range(LINES)]
    for _ in range(16):
        drain = draw(numbers)
        assert unit.get("drain__idle")
        operands = {name: value for name, value in drain.items() if name in DRAIN.fields}
        unit.set(drain__start=1, drain__operands=struct(DRAIN, **operands))
        unit.set(**{f"drain__{name}": drain[name] for name in ("bank", "width", "height", "step")})
        writes, reads, cycles = [], 0, 0
        while True:
            await unit.settle()
            bank, position = unit.get("accumulators__bank"), unit.get("accumulators__position")
            channel = unit.get("channel__address")
            enable, line = unit.get("feature__enable"), unit.get("feature__address") % LINES
            if enable:
                data = split(unit.get("feature__data"), CONFIG.act_bits, CONFIG.rows, signed=False)
                writes.append((line, {n: data[n] for n in range(CONFIG.rows) if enable >> n & 1}))
            read = unit.get("feature__read")
            assert not (read and enable)
            reads += read
            await unit.step()
            cycles += 1
            unit.set(
                drain__start=0, accumulators__line=join(banks[bank][position % CONFIG.acc_depth], CONFIG.acc_width)
            )
            unit.set(channel__line=lines[channel % CONFIG.channel_depth])
            if read:
                unit.set(feature__line=join(memory[line], CONFIG.act_bits))
            if unit.get("drain__idle"):
                break
        count = drain["width"] * drain["height"] * Drain.zero(**operands).position_cycles(CONFIG)
        assert cycles == CONFIG.array_latency + count + CONFIG.requant_latency
        wanted = expected(drain, banks, channels, memory)
        equal(writes, wanted, f"Drain {drain}, write")
        assert reads == (len(wanted) if drain["skip"] else 0)
    assert bits_for(CONFIG.feature_depth) == DRAIN["address"].width
