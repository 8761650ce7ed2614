"""The tables behind the requantiser: every entry of every table, values that pass, entries that are written anew."""

import random

import cocotb

from twofold.sim import settings
from twofold.sim.compare import equal
from twofold.sim.component import Driver, join, split

SETTINGS = settings.read()
CONFIG, SEED = SETTINGS["config"], SETTINGS["seed"]
timed = cocotb.test(timeout_time=10, timeout_unit="ms")
UNITS = CONFIG.requant_units


async def filled(dut, numbers: random.Random) -> tuple[Driver, list[int]]:
    """A lookup whose entries are all written, and what they are."""
    lookup = Driver(dut)
    await lookup.start("on", "number", "values", "entries__enable", "entries__address", "entries__data")
    entries = [numbers.getrandbits(CONFIG.act_bits) for _ in range(CONFIG.table_lines)]
    for address, entry in enumerate(entries):
        await write(lookup, address, entry)
    return lookup, entries


async def write(lookup: Driver, address: int, entry: int, enable: int = 1) -> None:
    """Offers an entry for one cycle."""
    lookup.set(entries__enable=enable, entries__address=address, entries__data=entry)
    await lookup.step()
    lookup.set(entries__enable=0)


async def check(lookup: Driver, asked: list[list[int]], wanted: list[list[int]], what: str) -> None:
    """Asks with the values of all units, a line of them a cycle; answers come a cycle later."""
    got = []
    for values in asked:
        lookup.set(values=join(values, CONFIG.value_bits))
        await lookup.step()
        got.append(split(lookup.get("activations"), CONFIG.act_bits, UNITS, signed=False))
    equal(got, wanted, f"{what}, activations of cycle")


@timed
async def every_entry_and_every_value_that_passes(dut):
    numbers = random.Random(SEED)
    lookup, entries = await filled(dut, numbers)
    low, size = (1 << CONFIG.act_bits) - 1, 1 << CONFIG.table_bits
    # Each unit asks in an order of its own.
    orders = [numbers.sample(range(1 << CONFIG.value_bits), 1 << CONFIG.value_bits) for _ in range(UNITS)]
    asked = [list(values) for values in zip(*orders, strict=True)]
    for number in range(CONFIG.tables):
        lookup.set(on=1, number=number)
        wanted = [[entries[number * size + value % size] for value in values] for values in asked]
        await check(lookup, asked, wanted, f"Table {number}")
    lookup.set(on=0)
    await check(lookup, asked, [[value & low for value in values] for values in asked], "No table")


@timed
async def only_what_is_written_changes(dut):
    numbers = random.Random(SEED + 1)
    lookup, entries = await filled(dut, numbers)
    lines, size = CONFIG.table_lines, 1 << CONFIG.table_bits
    for address in numbers.sample(range(lines), min(lines, 40)):
        entry, enable = numbers.getrandbits(CONFIG.act_bits), numbers.randrange(2)
        await write(lookup, address, entry, enable)
        if enable:
            entries[address] = entry
    for number in range(CONFIG.tables):
        lookup.set(on=1, number=number)
        asked = [[value] * UNITS for value in range(size)]
        await check(lookup, asked, [[entries[number * size + value]] * UNITS for value in range(size)], "Written anew")
