"""The compute path: passes over a feature memory, tile after tile or with one tile again, against plain sums."""

import random

import cocotb

from twofold.golden.fields import Field, Record
from twofold.golden.isa import Pass, Window
from twofold.sim import settings
from twofold.sim.bench_accumulators import wrap
from twofold.sim.bench_array import column_sum, seen_by
from twofold.sim.bench_window import TAKEN, positions
from twofold.sim.bench_window import draw as draw_window
from twofold.sim.compare import equal
from twofold.sim.component import Driver, all_words, join, split, struct, word_bits

SETTINGS = settings.read()
CONFIG, SEED = SETTINGS["config"], SETTINGS["seed"]
timed = cocotb.test(timeout_time=10, timeout_unit="ms")
START = Record(
    {
        **{f"window_{name}": field for name, field in Window.record(CONFIG).fields.items()},
        **{f"pass_{name}": field for name, field in Pass.record(CONFIG).fields.items()},
        "bank": Field(1),
    }
)


class ComputePath:
    """The component with a feature memory beside it."""

    def __init__(self, dut, memory: list[list[int]]):
        self.driver, self.memory = Driver(dut), memory

    async def step(self) -> None:
        """One cycle; the memory answers in the next."""
        await self.driver.settle()
        address = self.driver.get("feature__address") % len(self.memory)
        await self.driver.step()
        self.driver.set(feature__line=join(self.memory[address], CONFIG.act_bits), load=0, start__valid=0)

    async def load(self, tile: list[list[tuple[int, int, int]]]) -> None:
        """Loads a tile, line by line, as soon after a pass as the sequencer can."""
        for _ in range(CONFIG.fetch_cycles + CONFIG.load_latency):
            await self.step()
        for group in range(CONFIG.load_groups):
            columns = tile[group * CONFIG.load_columns : (group + 1) * CONFIG.load_columns]
            words = join([bits for words in columns for bits, _, _ in words], word_bits(CONFIG))
            self.driver.set(load=1 << group, words=words)
            await self.step()

    async def take(self, payload: int) -> None:
        """Offers a pass until it is taken; no sooner than the sequencer would."""
        for _ in range(CONFIG.min_pass):
            await self.step()
        for _ in range(1000):
            self.driver.set(start__valid=1, start__payload=payload)
            await self.driver.settle()
            ready = self.driver.get("start__ready")
            await self.step()
            if ready:
                return
        raise TimeoutError("Pass was not taken")


def operands(line: list[int], fields: dict[str, int], outside: int) -> list[int]:
    """Operands of a feature line."""
    found = []
    for lane, raw in enumerate(line):
        value = raw - (raw >> (CONFIG.act_bits - 1) << CONFIG.act_bits) if fields["signed"] else raw
        value = 0 if outside or not fields["row_mask"] >> lane & 1 else value
        found.append(value + (CONFIG.operand_offset if fields["signed"] else 0))
    return found


@timed
async def passes_add_up(dut):
    numbers = random.Random(SEED)
    memory = [[numbers.getrandbits(CONFIG.act_bits) for _ in range(CONFIG.rows)] for _ in range(CONFIG.feature_depth)]
    path = ComputePath(dut, memory)
    await path.driver.start(
        "start__valid",
        "start__payload",
        "load",
        "words",
        "feature__line",
        "accumulators__bank",
        "accumulators__position",
    )
    least = -(1 << (CONFIG.acc_width - 1))
    tile: list[list[tuple[int, int, int]]] = []
    for bank in (0, 1, 0):
        geometry = draw_window(numbers)
        count = geometry["width"] * geometry["height"]
        state = [[0] * CONFIG.cols for _ in range(count)]
        for number in range(4):
            kept = bool(tile) and numbers.random() < 0.4
            if not kept:
                tile = [numbers.choices(all_words(CONFIG), k=CONFIG.rows) for _ in range(CONFIG.cols)]
            moved = geometry | {"address": numbers.randint(0, START["pass_address"].high), "x": numbers.randint(-9, 9)}
            moved["chain"] = int(geometry["step_x"] > 0 and count >= CONFIG.min_pass and numbers.random() < 0.5)
            fields = {
                "shift": numbers.randrange(CONFIG.max_pass_shift + 1),
                "signed": numbers.getrandbits(1),
                "first": int(number == 0),
                "maximum": numbers.getrandbits(1),
                "row_mask": numbers.getrandbits(CONFIG.rows) | 1,
                "col_mask": -1 if number == 0 else numbers.getrandbits(CONFIG.cols),
            }
            if not kept:
                await path.load(tile)
            window = {f"window_{name}": moved[name] for name in Window.record(CONFIG).fields}
            taken = {f"pass_{name}": value for name, value in fields.items()}
            taken |= {f"pass_{name}": moved[name] for name in TAKEN}
            await path.take(struct(START, **window, **taken, bank=bank))
            seen = [operands(memory[one.address % len(memory)], fields, one.outside) for one in positions(moved)]
            for n, one in enumerate(positions(moved)):
                for column in range(CONFIG.cols):
                    if not one.valid or not fields["col_mask"] >> column & 1:
                        continue
                    old = state[one.position][column]
                    if fields["first"]:
                        old = least if fields["maximum"] else 0
                    line = seen[n]
                    if moved["chain"]:
                        late = [[seen[n - late][row - late] for row in range(CONFIG.rows)] for late in range(3)]
                        line = seen_by(late, column)
                    addend = wrap(column_sum(tile[column], line) << fields["shift"])
                    if fields["maximum"]:
                        state[one.position][column] = old if one.outside else max(old, addend)
                    else:
                        state[one.position][column] = wrap(old + addend)
        for _ in range(len(seen) + CONFIG.array_latency):
            await path.step()
        got = []
        for position in range(count):
            path.driver.set(accumulators__bank=bank, accumulators__position=position)
            await path.step()
            got.append(split(path.driver.get("accumulators__line"), CONFIG.acc_width, CONFIG.cols))
        equal(got, state, f"Accumulators of bank {bank}, position")
