"""The sequencer: random programs are accepted in exactly the cycles of `golden.timing`."""

import random
from collections.abc import Sequence
from dataclasses import replace

import cocotb

from twofold.golden.fields import Field, Record
from twofold.golden.frame import parse
from twofold.golden.isa import (
    OPCODE_BITS,
    Drain,
    End,
    Opcode,
    Output,
    Pass,
    Section,
    Sync,
    Window,
    decode,
    instructions,
    line_bits,
)
from twofold.golden.timing import cycles, timing
from twofold.golden.transfer_clock import TransferClock
from twofold.sim import settings
from twofold.sim.compare import equal
from twofold.sim.component import Driver, struct
from twofold.testing.random_program import random_frame

SETTINGS = settings.read()
CONFIG, SEED = SETTINGS["config"], SETTINGS["seed"]
INPUTS = ("inference__run", "program__line", "start__ready", "drain__idle", "send__ready", "sent")
TRANSFERRING = tuple(f"transferring__{name}" for name in ("done", "finished", "stuck", "fault", "idle"))
timed = cocotb.test(timeout_time=10, timeout_unit="ms")
outside = cocotb.test(timeout_time=10, timeout_unit="ms", skip=not CONFIG.external)
START = Record(
    {
        **{f"window_{name}": field for name, field in Window.record(CONFIG).fields.items()},
        **{f"pass_{name}": field for name, field in Pass.record(CONFIG).fields.items()},
        "bank": Field(1),
    }
)


class Done(TransferClock):
    """When transfers are done, and all, or what else becomes of them: without a list.

    Cycles count from the first one after the start.
    """

    def __init__(self, times: Sequence[int] = (0,), end: int = 0, name: str = "finished"):
        self.times, self.end, self.name = times, end, name

    def start(self, cycle: int) -> None:
        assert cycle == -1

    def drain(self, accepted: int, idle: int, window: Window, drain: Drain) -> None:
        pass

    def ready(self, number: int) -> int:
        return (-1, *self.times)[number] if number <= len(self.times) else 1 << 30

    def finished(self) -> int:
        return self.end


class Surroundings:
    """Program memory, compute path, requantiser, sender and transfers, as far as the sequencer sees them.

    Program memory is a ring where transfers write it: a line behind a SYNC is there when that is fulfilled.
    """

    def __init__(self, driver: Driver, program: tuple[int, ...], numbers: random.Random, done: Done | None = None):
        self.driver, self.program, self.numbers = driver, program, numbers
        self.done = Done() if done is None else done
        self.needs = [1]
        for line in program:
            one = Sync.record(CONFIG).unpack(line >> OPCODE_BITS)["need"] if line & 7 == Opcode.SYNC else 0
            self.needs.append(max(self.needs[-1], one))
        self.now = -1
        self.busy = self.drain = self.sending = self.line = 0
        self.old = False
        self.stopped = 0
        self.ends = [0, 0]
        self.seen: list[tuple[str, int, int]] = []
        self.loads: list[tuple[int, int]] = []

    async def cycle(self) -> None:
        """One cycle: answers, then notes what is accepted."""
        driver = self.driver
        driver.set(
            program__line=self._line(),
            start__ready=self.busy <= 1,
            drain__idle=self.drain == 0,
            send__ready=self.sending == 0,
            sent=self.sending == 1,
        )
        if CONFIG.external:
            done = sum(time <= self.now for time in self.done.times)
            driver.set(transferring__done=done, transferring__idle=self.stopped > 2)
            driver.set(**{f"transferring__{self.done.name}": 0 <= self.done.end <= self.now})
        await driver.settle()
        sends = self.sending > 0
        self.stopped = self.stopped + 1 if CONFIG.external and driver.get("transferring__stop") else 0
        self.busy, self.drain, self.sending = (max(0, n - 1) for n in (self.busy, self.drain, self.sending))
        for n, name in enumerate(("failed", "complete")):
            self.ends[n] += driver.get(f"inference__{name}")
        positions = driver.get("drain__width") * driver.get("drain__height")
        if driver.get("start__valid"):
            self.seen.append(("PASS", driver.get("start__payload"), 0))
            given = START.unpack(driver.get("start__payload"))
            window = Window(**{name: given[f"window_{name}"] for name in Window.record(CONFIG).fields})
            self.busy = window.streamed(given["pass_chain"])
        if driver.get("drain__start"):
            self.seen.append(("DRAIN", driver.get("drain__operands"), driver.get("drain__bank")))
            drain = Drain(**Drain.record(CONFIG).unpack(driver.get("drain__operands")))
            work = positions * drain.position_cycles(CONFIG)
            self.drain = CONFIG.array_latency + work + CONFIG.requant_latency - 1
        if driver.get("send__valid"):
            self.seen.append(("OUTPUT", driver.get("send__payload"), 0))
            self.sending = self.numbers.randint(2, 20)
        self.loads.append((driver.get("weight_address"), driver.get("load")))
        self._move(driver.get("program__address"))
        self.now += not sends
        await driver.step()

    def _move(self, address: int) -> None:
        """The line read in this cycle, which was there in time or not."""
        self.line = self.line + (address - self.line) % CONFIG.program_depth if self.now > 0 else address
        number = min(self.line, len(self.program))
        self.old = self.done.ready(self.needs[number]) - 1 > self.now

    def _line(self) -> int:
        if self.old:
            return self.numbers.getrandbits(line_bits(CONFIG, Section.PROGRAM)) & -8 | Opcode.PASS
        return self.program[self.line] if self.line < len(self.program) else 0


def expected(program: tuple[int, ...]) -> list[tuple[str, int, int]]:
    """What the surroundings must see, in order."""
    window: dict[str, int] = {}
    found, bank = [], 0
    for line in program:
        instruction = decode(CONFIG, line)
        operands = instruction.record(CONFIG).pack(vars(instruction))
        if isinstance(instruction, Window):
            window = {f"window_{name}": value for name, value in vars(instruction).items()}
        elif isinstance(instruction, Pass):
            fields = {f"pass_{name}": value for name, value in vars(instruction).items()}
            found.append(("PASS", struct(START, **window, **fields, bank=bank), 0))
        elif isinstance(instruction, Drain):
            found.append(("DRAIN", operands, bank))
            bank ^= 1
        elif isinstance(instruction, Output):
            found.append(("OUTPUT", operands, 0))
    return found


def drawn(numbers: random.Random, seed: int, chunks: int) -> tuple[tuple[int, ...], Done]:
    """A program, with SYNCs if the build has a memory outside, and when the transfers are done."""
    large = replace(CONFIG, program_depth=1 << 10)
    sections = {kind: lines for kind, _, lines in parse(large, random_frame(large, seed, chunks=chunks))}
    lines = list(sections[Section.PROGRAM])
    if not CONFIG.external:
        return tuple(lines), Done()
    times, need, program = [numbers.randint(3, 60)], 0, []
    for line in lines:
        while numbers.random() < 0.2:
            need += numbers.choice((0, 1, 1, 2))
            program.append(Sync(need=need).encode(CONFIG))
        program.append(line)
    while len(times) < need + 1:
        times.append(times[-1] + numbers.choice((0, 1, 5, numbers.randint(0, 100))))
    return tuple(program), Done(times, times[-1] + numbers.choice((0, 1, 300)))


def groups(surroundings: Surroundings) -> list[tuple[int, int]]:
    """(weight line, bit) of every group of columns loaded: the bit comes `load_latency` cycles after the line."""
    loads, late = surroundings.loads, CONFIG.load_latency
    return [(loads[n - late][0], bits) for n, (_, bits) in enumerate(loads) if bits]


@timed
async def programs_take_their_exact_time(dut):
    numbers = random.Random(SEED)
    sequencer = Driver(dut)
    await sequencer.start(*INPUTS, *(TRANSFERRING if CONFIG.external else ()))
    for number in range(6):
        program, done = drawn(numbers, SEED + number, chunks=2 if CONFIG.external else 5)
        around = Surroundings(sequencer, program, numbers, done)
        sequencer.set(inference__run=1)
        await around.cycle()
        sequencer.set(inference__run=0)
        for _ in range(20_000):
            await around.cycle()
            if not sequencer.get("inference__busy"):
                break
        instructions = [decode(CONFIG, line) for line in program]
        equal(around.seen, expected(program), f"Program {SEED + number}, step")
        steps = timing(CONFIG, instructions, done if CONFIG.external else None)
        assert sequencer.get("inference__cycles") == cycles(steps)
        if CONFIG.external:
            syncs = [step for step, one in zip(steps, instructions, strict=True) if isinstance(one, Sync)]
            assert sequencer.get("stalls") == done.ready(1) + 1 + sum(step.memory for step in syncs)
        assert sequencer.get("inference__passes") == sum(isinstance(one, Pass) for one in instructions)
        assert groups(around) == [
            (one.weights + group, 1 << group)
            for one in instructions
            if isinstance(one, Pass) and not one.kept
            for group in range(one.groups + 1)
        ]


@timed
async def illegal_instructions_stop(dut):
    sequencer = Driver(dut)
    await sequencer.start(*INPUTS, *(TRANSFERRING if CONFIG.external else ()))
    for opcode in set(range(1 << OPCODE_BITS)) - instructions(CONFIG).keys():
        around = Surroundings(sequencer, (opcode,), random.Random(SEED))
        sequencer.set(inference__run=1)
        await around.cycle()
        sequencer.set(inference__run=0)
        for _ in range(20):
            await around.cycle()
        assert (*around.ends, sequencer.get("inference__busy")) == (1, 0, 0), f"opcode {opcode}"


@outside
async def what_can_never_be_done_fails_and_leaves_nothing(dut):
    """A program that waits for too much, a list that is at its end at once, a fault anywhere in between."""
    numbers = random.Random(SEED)
    sequencer = Driver(dut)
    await sequencer.start(*INPUTS, *TRANSFERRING)
    end, some = End().encode(CONFIG), Done((5, 9), 30)
    waits = tuple(one.encode(CONFIG) for one in (Sync(need=2), Sync(need=3)))
    cases = [(waits, some), (waits, Done(some.times, some.end, "stuck")), ((end,), Done(some.times, some.end, "stuck"))]
    cases += [((end,), Done((), 12, name)) for name in ("finished", "stuck", "fault")]
    for number in range(6):
        program, done = drawn(numbers, SEED + number, chunks=1)
        cases.append((program, Done(done.times, numbers.randint(0, 150), "fault")))
    good = (waits[0], Output(address=0, count=3).encode(CONFIG), end), some
    for number, case in enumerate(cases):
        for program, done in (case, good):
            around = Surroundings(sequencer, program, numbers, done)
            sequencer.set(**dict.fromkeys(TRANSFERRING, 0), inference__run=1)
            await around.cycle()
            sequencer.set(inference__run=0)
            for _ in range(20_000):
                await around.cycle()
                if not sequencer.get("inference__busy"):
                    break
            wanted = (0, 1) if program is good[0] else (1, 0)
            assert tuple(around.ends) == wanted, f"case {number}"
            assert (around.busy, around.drain, around.sending) == (0, 0, 0), f"case {number}"
        assert around.seen == expected(program), f"after case {number}"
