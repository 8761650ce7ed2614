"""The transfer engine against a list executed in order: same memories, in time for who waits for `done`, no hang."""

import random
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import islice

import cocotb

from twofold.golden.config import bits_for
from twofold.golden.isa import Section, line_bits, section_kinds
from twofold.golden.transfer_clock import TransferClock
from twofold.golden.transfers import Transfer, bus_beats, entry_beats
from twofold.hdl.transfer_list import BASE_BITS
from twofold.sim import settings
from twofold.sim.axi_memory import SIZE, AxiMemory
from twofold.sim.compare import equal
from twofold.sim.component import Driver
from twofold.sim.steady_memory import SteadyMemory
from twofold.testing.random_transfers import random_transfers

SETTINGS = settings.read()
CONFIG, SEED = SETTINGS["config"], SETTINGS["seed"]
BYTES = CONFIG.bus_bits // 8
#: Lines of each memory that lists use, lines of feature memory that each drain writes, and drains in an inference.
LINES, DRAIN_LINES, DRAINS = 96, 4, 6
DEPTH_BITS = bits_for(CONFIG.feature_depth)
#: Beats outside: the list lies below, what is loaded and stored behind.
PLACE = SIZE // BYTES // 4
INPUTS = ("base", "transferring__start", "transferring__stop", "drain_idle", "feature__free", "feature__line")
timed = cocotb.test(timeout_time=20, timeout_unit="ms")
Lines = dict[tuple[int, int], int]


class Lists:
    """Random lists, and what becomes of the memories."""

    def __init__(self, numbers: random.Random):
        self.numbers = numbers
        self.stored: list[Transfer] = []

    def draw(self) -> list[Transfer]:
        """A list; the features that it stores are those that drains wrote, and some are loaded again."""
        numbers, after, transfers = self.numbers, 0, []
        for _ in range(16):
            kind = numbers.choice(section_kinds(CONFIG))
            after = min(DRAINS, after + numbers.choice((0, 0, 1)))
            store = kind is Section.FEATURE and after > 0 and numbers.random() < 0.6
            length = numbers.choice((1, 2, DRAIN_LINES if store else numbers.randint(1, 12)))
            rows = 1 if store else numbers.choice((1, numbers.randint(2, 4)))
            line = LINES + (after - 1) * DRAIN_LINES if store else numbers.randrange(LINES // 4)
            step = numbers.choice((length, 16, (1 << 24) - length)) if line >= 3 * length else 16
            gap = numbers.randint(0, 5) + length * bus_beats(CONFIG, kind)
            place = PLACE + numbers.randrange(2 * PLACE)
            again = self.stored and kind is Section.FEATURE and not store and numbers.random() < 0.7
            if again:
                place = numbers.choice(self.stored).memory
            shape = {"rows": rows, "length": length, "line": line, "line_step": step}
            transfers.append(Transfer(kind=kind, store=int(store), after=after, memory=place, memory_step=gap, **shape))
            if store:
                self.stored.append(transfers[-1])
        return [*transfers, Transfer(kind=Section.END)]

    def draw_any(self) -> list[Transfer]:
        """A transfer of any numbers that its fields hold; another before it, or a wait without an end."""
        numbers = self.numbers
        free = {
            name: numbers.getrandbits(bits)
            for name, bits in Transfer.record(CONFIG).widths.items()
            if name not in ("kind", "store", "after")
        }
        kind = numbers.choice((*section_kinds(CONFIG), Section.FEATURE))
        store = int(kind is Section.FEATURE and numbers.random() < 0.7)
        # What a STORE has begun of a row, it ends.
        most = free.pop("length")
        rows, length = free.pop("rows") + 1, numbers.choice((1, 2, (most & 0xFF if store else most) + 1))
        first = Transfer(kind=kind, store=store, rows=rows, length=length, **free)
        match numbers.randrange(3):
            case 0:
                return [first, Transfer(kind=Section.END, after=numbers.getrandbits(24), **free)]
            case 1:
                late = replace(first, after=numbers.getrandbits(24) | 1 << 23)
                return [replace(first, rows=1, length=1), late, Transfer(kind=Section.END)]
            case _:
                return [replace(first, rows=1, length=2), first, Transfer(kind=Section.END)]

    @staticmethod
    def lines(transfer: Transfer) -> Iterator[tuple[int, int]]:
        """(chip line, first beat outside) of every line, in order."""
        wide = bus_beats(CONFIG, transfer.kind)
        for r in range(transfer.rows):
            for k in range(transfer.length):
                line = (transfer.line + r * transfer.line_step + k) % (1 << 24)
                yield line, transfer.memory + r * transfer.memory_step + k * wide


class Chip:
    """Memories, drains and a program that waits now and then, as far as the engine sees them."""

    def __init__(self, driver: Driver, memory: AxiMemory, numbers: random.Random, page: int, busy: float):
        self.driver, self.memory, self.numbers, self.busy = driver, memory, numbers, busy
        self.offset = page * 4096
        self.lines: Lines = {}
        self.log: list[tuple[int, tuple[int, int]]] = []
        self.sent: list[int] = []
        self.cycle = self.drained = self.draining = 0
        self.read = 0

    def outside(self, beat: int, data: bytes | None = None) -> int:
        """A beat outside."""
        place = (self.offset + beat * BYTES) % SIZE
        if data is not None:
            self.memory.ram.write(place, data)
        return int.from_bytes(self.memory.ram.read(place, BYTES), "little")

    def line(self, kind: Section, beat: int) -> int:
        """A line outside."""
        beats = [self.outside(beat + n) for n in range(bus_beats(CONFIG, kind))]
        whole = sum(word << n * CONFIG.bus_bits for n, word in enumerate(beats))
        return whole & ((1 << line_bits(CONFIG, kind)) - 1)

    def write(self, transfers: list[Transfer]) -> None:
        """The list."""
        bits = sum(one.encode(CONFIG) << n * entry_beats(CONFIG) * CONFIG.bus_bits for n, one in enumerate(transfers))
        data = bits.to_bytes(len(transfers) * entry_beats(CONFIG) * BYTES, "little")
        for beat in range(len(data) // BYTES):
            self.outside(beat, data[beat * BYTES : (beat + 1) * BYTES])

    async def step(self) -> None:
        """One cycle."""
        driver, numbers = self.driver, self.numbers
        free = numbers.random() >= self.busy
        driver.set(drain_idle=self.draining == 0, feature__free=free, feature__line=self.read)
        await driver.settle()
        if driver.get("write_valid"):
            written = driver.get("write")
            kind, address = Section(written & 7), written >> 3 & 0xFFFFFF
            assert kind is not Section.FEATURE or free
            self.lines[kind, address] = written >> 27 & ((1 << line_bits(CONFIG, kind)) - 1)
            self.log.append((self.cycle, (kind, address)))
        self.read = numbers.getrandbits(CONFIG.feature_bits)
        if free and driver.get("feature__read"):
            address = driver.get("feature__address")
            self.read = self.lines.setdefault((Section.FEATURE, address), self.read)
            self.sent.append(address)
        if self.draining == 1:
            for n in range(DRAIN_LINES):
                line = LINES + self.drained * DRAIN_LINES + n
                self.lines[Section.FEATURE, line] = numbers.getrandbits(CONFIG.feature_bits)
            self.drained += 1
        # Who drains is idle for a cycle before the next drain.
        begins = self.draining == 0 and self.drained < DRAINS and numbers.random() < 0.02
        self.draining = numbers.randint(2, 60) if begins else max(0, self.draining - 1)
        self.cycle += 1
        await driver.step()


async def start(dut, numbers: random.Random, pause: float, busy: float) -> Chip:
    """An engine at the start of a list."""
    engine = Driver(dut)
    memory = AxiMemory(dut, "axi_")
    await engine.start(*INPUTS)
    memory.fill(numbers)
    memory.pause(pause, SEED)
    page = numbers.getrandbits(BASE_BITS)
    engine.set(base=page, drain_idle=1)
    return Chip(engine, memory, numbers, page, busy)


async def begin(around: Chip) -> None:
    around.drained = around.draining = 0
    around.log.clear()
    around.sent.clear()
    around.driver.set(transferring__start=1)
    await around.step()
    around.driver.set(transferring__start=0)


@timed
@cocotb.parametrize(pause=[0.0, 0.3])
async def lists_are_worked_through(dut, pause):
    numbers = random.Random(SEED)
    around = await start(dut, numbers, pause, busy=0.4 if pause else 0.1)
    engine, lists = around.driver, Lists(numbers)
    for number in range(3):
        transfers = lists.draw()
        around.write(transfers)
        await begin(around)
        done, expected = 0, dict(around.lines)
        for _ in range(20_000):
            await around.step()
            for transfer in transfers[done : engine.get("transferring__done")]:
                done += 1
                text = f"list {number}, transfer {done - 1}: {transfer}"
                assert around.drained >= transfer.after, text
                landed = {place for cycle, place in around.log if cycle <= around.cycle - 2}
                for line, beat in Lists.lines(transfer):
                    place = (transfer.kind, line)
                    if transfer.store:
                        assert around.line(Section.FEATURE, beat) == around.lines[place], text
                    else:
                        assert place in landed, text
                        expected[place] = around.line(transfer.kind, beat)
            if engine.get("transferring__finished"):
                break
        assert done == len(transfers) - 1 and not engine.get("transferring__fault")
        drained = {place: around.lines[place] for place in around.lines if place[1] >= LINES}
        equal(sorted(around.lines.items()), sorted((expected | drained).items()), f"list {number}, line")


@timed
@cocotb.parametrize(latency=[1, 32, 150])
async def times_are_as_predicted(dut, latency):
    engine = Driver(dut)
    await engine.start(*INPUTS)
    engine.set(drain_idle=1, feature__free=1)
    for seed in range(SEED, SEED + 6):
        numbers = random.Random(seed)
        transfers = random_transfers(CONFIG, seed)
        page = numbers.getrandbits(BASE_BITS - 6)
        base, size = page * 4096 // BYTES, entry_beats(CONFIG)
        bits = [one.encode(CONFIG) for one in (*transfers, Transfer(kind=Section.END))]
        memory = SteadyMemory(engine, CONFIG, latency, partial(_list_word, bits, base, size))
        clock = TransferClock(CONFIG, transfers, latency, base)
        clock.start(0)
        expected = [clock.ready(n + 1) for n in range(len(transfers))] + [clock.finished()]
        found: list[int] = []
        engine.set(base=page, transferring__start=1)
        for cycle in range(50_000):
            memory.offer(cycle)
            await engine.settle()
            memory.take(cycle)
            # The counter stands from the list before until the start was seen.
            found += [cycle] * ((engine.get("transferring__done") if cycle else 0) - len(found))
            if cycle and engine.get("transferring__finished"):
                found.append(cycle)
                break
            await engine.step()
            engine.set(transferring__start=0)
        equal(found, expected, f"latency {latency}, list {seed}, cycle of transfer")
        await engine.step()


def _list_word(entries: list[int], base: int, size: int, beat: int) -> int:
    """A beat of a list; anything elsewhere."""
    number, part = divmod(beat - base, size)
    if 0 <= number < len(entries):
        return entries[number] >> part * CONFIG.bus_bits & ((1 << CONFIG.bus_bits) - 1)
    return beat


@timed
async def errors_end_and_leave_nothing(dut):
    numbers = random.Random(SEED)
    around = await start(dut, numbers, 0.2, busy=0.3)
    engine = around.driver
    good = Transfer(kind=Section.WEIGHT, memory=PLACE, rows=2, memory_step=300, length=40, line_step=40)
    late, end = replace(good, after=9), Transfer(kind=Section.END)
    store = Transfer(kind=Section.FEATURE, store=1, memory=PLACE, length=150, line=0, rows=2)
    bad_bytes = range((around.offset + PLACE * BYTES) % SIZE, (around.offset + PLACE * BYTES) % SIZE + 64)
    cases = {
        "bad data": ([good, good, end], bad_bytes, (1, 1)),
        "bad store": ([store, good, end], bad_bytes, (1, 1)),
        "bad list": ([good, end], range(around.offset % SIZE, around.offset % SIZE + 64), (1, 1)),
        "kind that the build has not": ([good, Transfer(kind=Section.TABLES), end], range(0), (0, 1)),
        "store of weights": ([good, replace(good, store=1), end], range(0), (0, 1)),
        "stop while it waits": ([good, late, end], range(0), (0, 0)),
        "stop in a store": ([store, end], range(0), (0, 0)),
    }
    for name, (transfers, bad, (bus, fault)) in cases.items():
        around.memory.bad = range(0)
        around.write(transfers)
        around.memory.bad = bad
        await begin(around)
        stop = numbers.randint(20, 300)
        for cycle in range(20_000):
            engine.set(transferring__stop=cycle >= stop and not fault)
            await around.step()
            if engine.get("transferring__idle"):
                break
        seen = tuple(engine.get(port) for port in ("transferring__idle", "bus", "transferring__fault"))
        assert seen == (1, bus, fault), name
        around.memory.bad = range(0)
        around.write([good, end])
        engine.set(transferring__stop=0)
        await begin(around)
        for _ in range(20_000):
            await around.step()
            if engine.get("transferring__finished"):
                break
        seen = tuple(engine.get(port) for port in ("transferring__done", "bus", "transferring__fault"))
        assert seen == (1, 0, 0), f"after {name}"
        lines = [around.lines[Section.WEIGHT, line] for line, _ in Lists.lines(good)]
        equal(lines, [around.line(Section.WEIGHT, beat) for _, beat in Lists.lines(good)], f"after {name}, line")


@timed
async def any_numbers_are_followed_until_a_stop(dut):
    numbers = random.Random(SEED)
    around = await start(dut, numbers, 0.1, busy=0.1)
    engine, lists = around.driver, Lists(numbers)
    for number in range(16):
        page = numbers.getrandbits(BASE_BITS)
        engine.set(base=page)
        around.offset = page * 4096
        transfers = lists.draw_any()
        around.write(transfers)
        await begin(around)
        stop = numbers.randint(60, 300)
        for cycle in range(20_000):
            engine.set(transferring__stop=cycle >= stop)
            await around.step()
            if cycle > stop and engine.get("transferring__idle"):
                break
        engine.set(transferring__stop=0)
        seen = tuple(engine.get(port) for port in ("transferring__idle", "bus", "transferring__fault"))
        assert seen == (1, 0, 0), f"list {number}: {transfers}"
        _followed(around, transfers, f"list {number}")


def _followed(around: Chip, transfers: list[Transfer], text: str) -> None:
    """What was loaded and stored are the first lines of the list, and what was loaded has its values."""
    loaded, stored = [place for _, place in around.log], around.sent
    wanted = [one for one in transfers if one.kind is not Section.END]
    lines = ((one.kind, *line) for one in wanted if not one.store for line in Lists.lines(one))
    expected = list(islice(lines, len(loaded)))
    equal(loaded, [(kind, line) for kind, line, _ in expected], f"{text}, line loaded")
    # A line that is read has the bits of its memory's addresses only.
    wrapped = (line % (1 << DEPTH_BITS) for one in wanted if one.store for line, _ in Lists.lines(one))
    equal(stored, list(islice(wrapped, len(stored))), f"{text}, line stored")
    # A STORE may have written where something was loaded from.
    for (kind, line), beat in {(kind, line): beat for kind, line, beat in expected if not stored}.items():
        assert around.lines[kind, line] == around.line(kind, beat), f"{text}, line {line} of {kind.name}"
