"""The sequencer: random programs are accepted in exactly the cycles of `golden.timing`."""

import random

import cocotb

from twofold.golden import isa
from twofold.golden.frame import parse
from twofold.golden.isa import Opcode, Section, decode
from twofold.golden.timing import cycles, timing
from twofold.sim import settings
from twofold.sim.compare import equal
from twofold.sim.component import Driver, struct
from twofold.testing.random_program import random_frame

SETTINGS = settings.read()
CONFIG, SEED = SETTINGS["config"], SETTINGS["seed"]
timed = cocotb.test(timeout_time=10, timeout_unit="ms")
START = {
    **{f"window_{name}": width for name, width in isa.window_fields(CONFIG).items()},
    **{f"pass_{name}": width for name, width in isa.pass_fields(CONFIG).items()},
    "bank": 1,
}


class Surroundings:
    """Program memory, compute path, requantiser and sender, as far as the sequencer sees them."""

    def __init__(self, driver: Driver, program: tuple[int, ...], numbers: random.Random):
        self.driver, self.program, self.numbers = driver, program, numbers
        self.busy = self.drain = self.sending = self.line = 0
        self.window: dict[str, int] = {}
        self.accepted: list[tuple[Opcode, int]] = []
        self.seen: list[tuple[str, int, int]] = []
        self.loads: list[tuple[int, int]] = []

    async def cycle(self) -> None:
        """One cycle: answers, then notes what is accepted."""
        driver = self.driver
        driver.set(
            program_data=self.program[self.line] if self.line < len(self.program) else 0,
            start__ready=self.busy <= 1,
            drain_idle=self.drain == 0,
            send__ready=self.sending == 0,
            sent=self.sending == 1,
        )
        await driver.settle()
        self.busy, self.drain, self.sending = (max(0, n - 1) for n in (self.busy, self.drain, self.sending))
        positions = driver.get("width") * driver.get("height")
        if driver.get("start__valid"):
            self.seen.append(("PASS", driver.get("start__payload"), 0))
            self.busy = positions
        if driver.get("drain_start"):
            self.seen.append(("DRAIN", driver.get("drain"), driver.get("drain_bank")))
            groups = driver.get("drain") >> _offset(isa.drain_fields(CONFIG), "groups")
            groups &= (1 << isa.drain_fields(CONFIG)["groups"]) - 1
            self.drain = CONFIG.array_latency + positions * (groups + 1) + CONFIG.requant_latency - 1
        if driver.get("send__valid"):
            self.seen.append(("OUTPUT", driver.get("send__payload"), 0))
            self.sending = self.numbers.randint(2, 20)
        self.loads.append((driver.get("weight_address"), driver.get("load")))
        self.line = driver.get("program_address")
        await driver.step()


def _offset(fields: dict[str, int], name: str) -> int:
    position = 0
    for field, width in fields.items():
        if field == name:
            return position
        position += width
    raise KeyError(name)


def expected(program: tuple[int, ...]) -> list[tuple[str, int, int]]:
    """What the surroundings must see, in order."""
    window: dict[str, int] = {}
    found, bank = [], 0
    for line in program:
        opcode, operands = decode(CONFIG, line)
        if opcode is Opcode.WINDOW:
            window = {f"window_{name}": value for name, value in operands.items()}
        elif opcode is Opcode.PASS:
            fields = {f"pass_{name}": value for name, value in operands.items()}
            found.append(("PASS", struct(START, **window, **fields, bank=bank), 0))
        elif opcode is Opcode.DRAIN:
            found.append(("DRAIN", struct(isa.drain_fields(CONFIG), **operands), bank))
            bank ^= 1
        elif opcode is Opcode.OUTPUT:
            found.append(("OUTPUT", struct(isa.output_fields(CONFIG), **operands), 0))
    return found


def columns(surroundings: Surroundings) -> list[tuple[int, int]]:
    """(weight line, column bit) of every column loaded: the bit comes `load_latency` cycles after the line."""
    loads, late = surroundings.loads, CONFIG.load_latency
    return [(loads[n - late][0], bits) for n, (_, bits) in enumerate(loads) if bits]


@timed
async def programs_take_their_exact_time(dut):
    numbers = random.Random(SEED)
    sequencer = Driver(dut)
    await sequencer.start("run", "program_data", "start__ready", "drain_idle", "send__ready", "sent")
    for number in range(6):
        sections = {kind: lines for kind, _, lines in parse(CONFIG, random_frame(CONFIG, SEED + number, chunks=5))}
        program = sections[Section.PROGRAM]
        around = Surroundings(sequencer, program, numbers)
        sequencer.set(run=1)
        await around.cycle()
        sequencer.set(run=0)
        for _ in range(20_000):
            await around.cycle()
            if not sequencer.get("busy"):
                break
        instructions = [decode(CONFIG, line) for line in program]
        equal(around.seen, expected(program), f"Program {SEED + number}, step")
        assert sequencer.get("cycles") == cycles(timing(CONFIG, instructions))
        assert sequencer.get("passes") == sum(opcode is Opcode.PASS for opcode, _ in instructions)
        assert columns(around) == [
            (operands["weights"] + column, 1 << column)
            for opcode, operands in instructions
            if opcode is Opcode.PASS
            for column in range(operands["columns"] + 1)
        ]


@timed
async def illegal_instructions_stop(dut):
    sequencer = Driver(dut)
    await sequencer.start("run", "program_data", "start__ready", "drain_idle", "send__ready", "sent")
    for opcode in (0, 6, 7):
        around = Surroundings(sequencer, (opcode,), random.Random(SEED))
        sequencer.set(run=1)
        await around.cycle()
        sequencer.set(run=0)
        failed = complete = 0
        for _ in range(10):
            failed += sequencer.get("failed")
            complete += sequencer.get("complete")
            await around.cycle()
        assert (failed, complete, sequencer.get("busy")) == (1, 0, 0), f"opcode {opcode}"
