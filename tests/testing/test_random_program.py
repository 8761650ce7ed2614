"""What random programs reach."""

from collections import Counter

from twofold.golden import isa
from twofold.golden.config import load_config
from twofold.golden.frame import parse
from twofold.golden.isa import Pass, Section, Window
from twofold.testing.random_program import random_frame

CONFIG = load_config("log_4x4")


def test_every_kind_of_pass_occurs_and_chains_as_the_machine_takes_them():
    found: Counter[str] = Counter()
    for seed in range(20):
        lines = next(part.lines for part in parse(CONFIG, random_frame(CONFIG, seed)) if part.kind is Section.PROGRAM)
        for instruction in (isa.decode(CONFIG, line) for line in lines):
            if isinstance(instruction, Window):
                window = instruction
            elif isinstance(instruction, Pass):
                found.update(name for name in ("chain", "kept", "maximum", "signed", "wait") if vars(instruction)[name])
                found["strided chain"] += instruction.chain and window.step_x > 1
                found["passes"] += 1
                assert not instruction.chain or (window.step_x and window.positions >= CONFIG.min_pass)
    assert all(20 < found[name] < found["passes"] / 2 for name in ("chain", "kept", "maximum", "wait"))
    assert found["strided chain"] > 5
