"""The window generator: addresses and padding of random rectangles, passes without a gap."""

import random

import cocotb

from twofold.golden.fields import Record
from twofold.golden.isa import Pass, Window
from twofold.sim import settings
from twofold.sim.compare import equal
from twofold.sim.component import Driver, struct

SETTINGS = settings.read()
CONFIG, SEED = SETTINGS["config"], SETTINGS["seed"]
timed = cocotb.test(timeout_time=10, timeout_unit="ms")
START = Record({**Window.record(CONFIG).fields, **{name: Pass.record(CONFIG)[name] for name in ("address", "x", "y")}})


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
    return fields | {"x": numbers.randint(-9, 9), "y": numbers.randint(-9, 9)}


def positions(start: dict[str, int]) -> list[tuple[int, int, int, int]]:
    """(first, address, outside, position) of each position, as docs/machine.md says."""
    found: list[tuple[int, int, int, int]] = []
    for i in range(start["height"]):
        for j in range(start["width"]):
            address = (start["address"] + i * start["row_step"] + j * start["step_x"]) % (1 << START["address"].width)
            y, x = start["y"] + i * start["step_y"], start["x"] + j * start["step_x"]
            inside = 0 <= y < start["in_height"] and 0 <= x < start["in_width"]
            found.append((int(not found), address, int(not inside), len(found)))
    return found


@timed
@cocotb.parametrize(gap=[0.0, 0.5])
async def positions_are_as_specified(dut, gap):
    """With no gap asked for there is none: as many cycles as positions."""
    numbers = random.Random(SEED)
    window = Driver(dut)
    await window.start("start__valid", "start__payload")
    passes = [draw(numbers) for _ in range(200)]
    expected = [position for start in passes for position in positions(start)]
    got: list[tuple[int, ...]] = []
    idle, waiting = 0, list(passes)
    while len(got) < len(expected):
        offer = bool(waiting) and numbers.random() >= gap
        window.set(start__valid=offer, start__payload=struct(START, **waiting[0]) if waiting else 0)
        await window.settle()
        if offer and window.get("start__ready"):
            waiting.pop(0)
        await window.step()
        if window.get("valid"):
            got.append(tuple(window.get(name) for name in ("first", "address", "outside", "position")))
        else:
            idle += 1
            assert gap and idle < 10_000, "Positions must follow each other without a gap"
    equal(got, expected, "Position")
    window.set(start__valid=0)
    await window.step()
    assert not window.get("valid")
