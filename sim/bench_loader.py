"""The loader against `golden.frame.parse`: the same lines written, the same first error, damaged frames too."""

import random

import cocotb

from twofold.golden import isa
from twofold.golden.frame import FrameError, frame, parse
from twofold.golden.isa import Section, section_kinds
from twofold.sim import settings
from twofold.sim.compare import equal
from twofold.sim.component import Driver
from twofold.testing.damage import damaged

SETTINGS = settings.read()
CONFIG, SEED = SETTINGS["config"], SETTINGS["seed"]
timed = cocotb.test(timeout_time=50, timeout_unit="ms")


def draw(numbers: random.Random) -> list[int]:
    """A frame with random sections, perhaps damaged."""
    sections = []
    for kind in numbers.choices(section_kinds(CONFIG), k=numbers.randint(0, 3)):
        depth, bits = isa.line_count(CONFIG, kind), isa.line_bits(CONFIG, kind)
        count = min(numbers.randint(1, 4), depth)
        address = numbers.choice((0, depth - count, numbers.randrange(depth - count + 1)))
        sections.append((kind, address, [numbers.getrandbits(bits) for _ in range(count)]))
    return damaged(frame(CONFIG, sections), numbers, resealed=0.5)


def reader(beats: list[int]) -> tuple[list[tuple[int, int, int]], int, tuple[bool, bool, bool]]:
    """Writes, error, and (touched, has_program, has_input) as golden has them."""
    try:
        sections, error = parse(CONFIG, beats), 0
    except FrameError as fault:
        sections, error = fault.sections, int(fault.code)
    writes = [(int(kind), address + n, line) for kind, address, lines in sections for n, line in enumerate(lines)]
    kinds = [section.kind for section in sections]
    touched = any(kind is not Section.FEATURE for kind in kinds)
    return writes, error, (touched, Section.PROGRAM in kinds, Section.FEATURE in kinds)


@timed
@cocotb.parametrize(pause=[0.0, 0.5])
async def frames_are_read_as_golden_reads_them(dut, pause):
    numbers = random.Random(SEED)
    loader = Driver(dut)
    await loader.start("i__valid", "i__payload", "enable")
    for number in range(SETTINGS["damaged"] * 2):
        beats = draw(numbers)
        expected, error, (touched, program, feature) = reader(beats)
        writes, ends = [], []
        at, drain = 0, 0
        while drain < 3:
            valid, enable = at < len(beats) and numbers.random() >= pause, numbers.random() >= pause
            last = at == len(beats) - 1
            loader.set(i__valid=valid, enable=enable, i__payload=(beats[at] if at < len(beats) else 0) | last << 32)
            await loader.settle()
            if loader.get("loading__finished"):
                ends.append(
                    (0, False, bool(loader.get("loading__has_program")), bool(loader.get("loading__has_input")))
                )
            if loader.get("loading__error_valid"):
                ends.append((loader.get("loading__error"), bool(loader.get("loading__touched")), program, feature))
            at += valid and enable
            drain += at == len(beats)
            await loader.step()
            if loader.get("write_valid"):
                writes.append(loader.get("write"))
        kinds = [(w & 0xFF, w >> 8 & 0xFFFFFF, w >> 32) for w in writes]
        lines = [(k, a, d & ((1 << isa.line_bits(CONFIG, Section(k))) - 1)) for k, a, d in kinds]
        text = f"frame {number}: {[hex(beat) for beat in beats]}"
        equal(lines, expected, f"{text}, line")
        equal(ends, [(error, touched and error > 0, program, feature)], f"{text}, end")
        assert loader.get("loading__between"), text
