import re

import numpy as np
import pytest

from twofold.golden import isa
from twofold.golden.config import ArrayConfig
from twofold.golden.isa import Opcode, Section

CONFIGS = [
    ArrayConfig(name="small", pe="log", rows=2, cols=2, word_bits=2, act_bits=2, acc_width=8, digits=1, digit_span=0),
    ArrayConfig(name="plain", pe="log", rows=8, cols=8, word_bits=3),
    ArrayConfig(name="wide", pe="subset", rows=64, cols=32, word_bits=4, acc_width=48, requant_units=4, digits=8),
]
TABLES = [
    lambda config: isa.operand_fields(config, Opcode.WINDOW),
    lambda config: isa.operand_fields(config, Opcode.PASS),
    lambda config: isa.operand_fields(config, Opcode.DRAIN),
    lambda config: isa.operand_fields(config, Opcode.OUTPUT),
    isa.channel_fields,
]


def limits(fields):
    """Least and largest value of each field."""
    return {
        name: (-(1 << (width - 1)), (1 << (width - 1)) - 1) if name in isa.SIGNED_FIELDS else (0, (1 << width) - 1)
        for name, width in fields.items()
    }


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.name)
@pytest.mark.parametrize("table", TABLES, ids=["window", "pass", "drain", "output", "channel"])
def test_unpack_reverses_pack(config, table):
    fields = table(config)
    ends = limits(fields)
    rng = np.random.default_rng(0)
    samples = [{name: end[side] for name, end in ends.items()} for side in (0, 1)]
    samples += [{name: end[n == one] for n, (name, end) in enumerate(ends.items())} for one in range(len(fields))]
    samples += [
        {name: low + int(rng.integers(1 << 62)) % (high - low + 1) for name, (low, high) in ends.items()}
        for _ in range(20)
    ]
    for values in samples:
        word = isa.pack(fields, values)
        assert 0 <= word < 1 << sum(fields.values())
        assert isa.unpack(fields, word) == values


def test_a_word_by_hand():
    fields = {"lane": 3, "low": 4, "columns": 2}
    assert isa.pack(fields, {"lane": 5, "low": -3, "columns": 2}) == 0b10_1101_101
    assert isa.unpack(fields, 0b01_0111_010) == {"lane": 2, "low": 7, "columns": 1}


def test_values_that_do_not_fit_are_refused():
    for value, name, text in (
        (4, "columns", "0 to 3, not 4"),
        (8, "low", "-8 to 7, not 8"),
        (-9, "low", "-8 to 7, not -9"),
    ):
        values = {"low": 0, "columns": 0} | {name: value}
        with pytest.raises(ValueError, match=f"^{name} must be {text}$"):
            isa.pack({"low": 4, "columns": 2}, values)
    with pytest.raises(ValueError, match=r"^Fields must be \('low', 'columns'\), not \('low',\)$"):
        isa.pack({"low": 4, "columns": 2}, {"low": 1})


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.name)
@pytest.mark.parametrize("opcode", [code for code in Opcode if code != Opcode.ILLEGAL])
def test_decode_reverses_encode_and_lines_fit(config, opcode):
    fields = isa.operand_fields(config, opcode)
    for side in (0, 1):
        operands = {name: end[side] for name, end in limits(fields).items()}
        line = isa.encode(config, opcode, **operands)
        assert line & 0b111 == opcode
        assert line < 1 << isa.line_bits(config, Section.PROGRAM)
        assert isa.decode(config, line) == (opcode, operands)


def test_an_instruction_by_hand():
    # Feature lines of 10 bits: OUTPUT of 3 lines (count 2) from line 5.
    assert isa.encode(CONFIGS[1], Opcode.OUTPUT, address=5, count=2) == (2 << 13) | (5 << 3) | 4
    assert isa.encode(CONFIGS[1], Opcode.END) == 5


@pytest.mark.parametrize("number", [0, 6, 7])
def test_illegal_opcodes_are_refused(number):
    with pytest.raises(ValueError, match=re.escape(f"Opcode must be 1 to 5, not {number}")):
        isa.decode(CONFIGS[1], number)


def test_line_sizes_by_hand():
    plain, wide = CONFIGS[1], CONFIGS[2]
    assert isa.line_bits(plain, Section.FEATURE) == 64
    assert isa.line_bits(plain, Section.WEIGHT) == 24
    assert isa.line_bits(plain, Section.CHANNEL) == 28 + 3 * (4 + 1 + 1) + 6
    assert isa.line_bits(wide, Section.CHANNEL) == 4 * (48 + 8 * (4 + 1 + 1) + 6)
    assert isa.line_bits(wide, Section.POINTS) == 4
    assert isa.line_count(wide, Section.POINTS) == 4 * 8
    assert [isa.line_beats(wide, kind) for kind in (Section.FEATURE, Section.WEIGHT, Section.POINTS)] == [16, 8, 1]


def test_numbers_that_hosts_rely_on():
    assert isa.FRAME_MAGIC.to_bytes(4, "little") == b"2FLD"
    addresses = {name: address for name, (address, _, _) in isa.REGISTERS.items()}
    first = ("ID", "VERSION", "BUILD", "SHAPE", "CONTROL", "STATUS", "CYCLES", "PASSES")
    assert [addresses[name] for name in first] == [0, 4, 8, 12, 16, 20, 24, 28]
    assert sorted(addresses.values()) == list(range(0, 4 * len(addresses), 4))
    assert sum(isa.SECTION_FIELDS.values()) == sum(isa.STATUS_FIELDS.values()) * 2 == 32
