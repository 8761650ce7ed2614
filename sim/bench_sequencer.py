"""The sequencer: random programs are accepted in exactly the cycles of `golden.timing`."""

import random

import cocotb

from twofold.golden.fields import Field, Record
from twofold.golden.frame import parse
from twofold.golden.isa import Drain, Output, Pass, Section, Window, decode
from twofold.golden.timing import cycles, timing
from twofold.sim import settings
from twofold.sim.compare import equal
from twofold.sim.component import Driver, struct
from twofold.testing.random_program import random_frame

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


class Surroundings:
    """Program memory, compute path, requantiser and sender, as far as the sequencer sees them."""

    def __init__(self, driver: Driver, program: tuple[int, ...], numbers: random.Random):
        self.driver, self.program, self.numbers = driver, program, numbers
        self.busy = self.drain = self.sending = self.line = 0
        self.seen: list[tuple[str, int, int]] = []
        self.loads: list[tuple[int, int]] = []

    async def cycle(self) -> None:
        """One cycle: answers, then notes what is accepted."""
        driver = self.driver
        driver.set(
            program__line=self.program[self.line] if self.line < len(self.program) else 0,
            start__ready=self.busy <= 1,
            drain__idle=self.drain == 0,
            send__ready=self.sending == 0,
            sent=self.sending == 1,
        )
        await driver.settle()
        self.busy, self.drain, self.sending = (max(0, n - 1) for n in (self.busy, self.drain, self.sending))
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
        self.line = driver.get("program__address")
        await driver.step()


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


def groups(surroundings: Surroundings) -> list[tuple[int, int]]:
    """(weight line, bit) of every group of columns loaded: the bit comes `load_latency` cycles after the line."""
    loads, late = surroundings.loads, CONFIG.load_latency
    return [(loads[n - late][0], bits) for n, (_, bits) in enumerate(loads) if bits]


@timed
async def programs_take_their_exact_time(dut):
    numbers = random.Random(SEED)
    sequencer = Driver(dut)
    await sequencer.start("inference__run", "program__line", "start__ready", "drain__idle", "send__ready", "sent")
    for number in range(6):
        sections = {kind: lines for kind, _, lines in parse(CONFIG, random_frame(CONFIG, SEED + number, chunks=5))}
        program = sections[Section.PROGRAM]
        around = Surroundings(sequencer, program, numbers)
        sequencer.set(inference__run=1)
        await around.cycle()
        sequencer.set(inference__run=0)
        for _ in range(20_000):
            await around.cycle()
            if not sequencer.get("inference__busy"):
                break
        instructions = [decode(CONFIG, line) for line in program]
        equal(around.seen, expected(program), f"Program {SEED + number}, step")
        assert sequencer.get("inference__cycles") == cycles(timing(CONFIG, instructions))
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
    await sequencer.start("inference__run", "program__line", "start__ready", "drain__idle", "send__ready", "sent")
    for opcode in (0, 6, 7):
        around = Surroundings(sequencer, (opcode,), random.Random(SEED))
        sequencer.set(inference__run=1)
        await around.cycle()
        sequencer.set(inference__run=0)
        failed = complete = 0
        for _ in range(10):
            failed += sequencer.get("inference__failed")
            complete += sequencer.get("inference__complete")
            await around.cycle()
        assert (failed, complete, sequencer.get("inference__busy")) == (1, 0, 0), f"opcode {opcode}"
