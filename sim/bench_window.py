"""The window generator: addresses and padding of random rectangles, passes without a gap."""

import random
from typing import NamedTuple

import cocotb

from twofold.golden.fields import Record
from twofold.golden.isa import Pass, Window
from twofold.sim import settings
from twofold.sim.compare import equal
from twofold.sim.component import Driver, struct

SETTINGS = settings.read()
CONFIG, SEED = SETTINGS["config"], SETTINGS["seed"]
timed = cocotb.test(timeout_time=10, timeout_unit="ms")
TAKEN = ("address", "x", "y", "chain")
START = Record({**Window.record(CONFIG).fields, **{name: Pass.record(CONFIG)[name] for name in TAKEN}})


def draw(numbers: random.Random) -> dict[str, int]:
    """A pass over a random rectangle."""
    most = min(CONFIG.acc_depth, 30)
    width = numbers.randint(1, min(most, CONFIG.max_side))
    height = numbers.randint(1, max(1, most // width))
    # Coordinates stay within their width, as those of any map and padding up to max_side do.
    reach = (1 << (CONFIG.coord_bits - 1)) - 10
    fields = {
        "width": width,
        "height": height,
        "in_width": numbers.randint(1, CONFIG.max_side),
        "in_height": numbers.randint(1, CONFIG.max_side),
        "step_x": numbers.randrange(min(16, reach // width)),
        "step_y": numbers.randrange(min(16, reach // height)),
        "row_step": numbers.randint(0, START["row_step"].high),
        "address": numbers.randint(0, START["address"].high),
    }
    chain = int(fields["step_x"] > 0 and numbers.random() < 0.5)
    fields["out_step"] = numbers.randint(0, START["out_step"].high)  # it is the drain's
    return fields | {"x": numbers.randint(-9, 9), "y": numbers.randint(-9, 9), "chain": chain}


class Position(NamedTuple):
    """What stands in a cycle."""

    valid: int
    first: int
    address: int
    outside: int
    position: int


def positions(start: dict[str, int]) -> list[Position]:
    """Every position that a pass reads, as docs/machine.md says."""
    found: list[Position] = []
    number = 0
    for i in range(start["height"]):
        complete = [j * start["step_x"] for j in range(start["width"])]
        columns = complete
        if start["chain"]:
            complete = [column + 2 for column in complete]
            columns = list(range(complete[-1] + 1))
        for column in columns:
            address = (start["address"] + i * start["row_step"] + column) % (1 << START["address"].width)
            y, x = start["y"] + i * start["step_y"], start["x"] + column
            inside = 0 <= y < start["in_height"] and 0 <= x < start["in_width"]
            valid = int(column in complete)
            found.append(Position(valid, int(not found), address, int(not inside), number))
            number += valid
    return found


@timed
@cocotb.parametrize(gap=[0.0, 0.5])
async def positions_are_as_specified(dut, gap):
    """With no gap asked for there is none: as many cycles as positions that a pass reads."""
    numbers = random.Random(SEED)
    window = Driver(dut)
    await window.start("start__valid", "start__payload")
    waiting = [draw(numbers) for _ in range(200)]
    expected: list[Position] = []
    got: list[Position] = []
    while waiting or len(got) < len(expected):
        offer = bool(waiting) and numbers.random() >= gap
        window.set(start__valid=offer, start__payload=struct(START, **waiting[0]) if waiting else 0)
        await window.settle()
        if offer and window.get("start__ready"):
            expected += positions(waiting.pop(0))
        await window.step()
        if len(got) < len(expected):
            got.append(Position(*(window.get(name) for name in Position._fields)))
        else:
            assert gap, "Passes must follow each other without a gap"
            assert not window.get("valid") and not window.get("first")
    equal(got, expected, "Position")
    window.set(start__valid=0)
    await window.step()
    assert not window.get("valid")
