import re

import numpy as np
import pytest

from twofold.golden import isa
from twofold.golden.config import ArrayConfig
from twofold.golden.fields import Field, Record
from twofold.golden.isa import Channel, Digit, End, Opcode, Output, Pass, Section, Window, instructions
from twofold.golden.registers import REGISTERS, STATUS, Error, Status

CONFIGS = [
    ArrayConfig(name="small", pe="log", rows=2, cols=2, word_bits=2, act_bits=2, acc_width=8, digits=1, digit_span=0),
    ArrayConfig(name="plain", pe="log", rows=8, cols=8, word_bits=3),
    ArrayConfig(name="wide", pe="subset", rows=64, cols=32, word_bits=4, acc_width=48, requant_units=4, digits=8),
    ArrayConfig(name="outside", pe="log", rows=4, cols=4, word_bits=3, memory="axi4"),
]
KINDS = list(instructions(CONFIGS[-1]).values())
BUILDS = pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.name)


def limits(record):
    """Least and largest value of each field."""
    return {name: (field.low, field.high) for name, field in record.fields.items()}


@BUILDS
@pytest.mark.parametrize("kind", [*KINDS[:4], Channel], ids=lambda kind: kind.__name__)
def test_unpack_reverses_pack(config, kind):
    record = kind.record(config)
    ends = limits(record)
    rng = np.random.default_rng(0)
    samples = [{name: end[side] for name, end in ends.items()} for side in (0, 1)]
    samples += [{name: end[n == one] for n, (name, end) in enumerate(ends.items())} for one in range(len(ends))]
    samples += [
        {name: low + int(rng.integers(1 << 62)) % (high - low + 1) for name, (low, high) in ends.items()}
        for _ in range(20)
    ]
    for values in samples:
        word = record.pack(values)
        assert 0 <= word < 1 << record.width
        assert record.unpack(word) == values


def test_a_word_by_hand():
    record = Record({"lane": Field(3), "low": Field(4, signed=True), "columns": Field(2)})
    assert record.pack({"lane": 5, "low": -3, "columns": 2}) == 0b10_1101_101
    assert record.unpack(0b01_0111_010) == {"lane": 2, "low": 7, "columns": 1}
    assert (record.width, record.widths) == (9, {"lane": 3, "low": 4, "columns": 2})


def test_a_sign_is_a_fields_own_whatever_its_name():
    assert (Field(4).low, Field(4).high) == (0, 15)
    assert (Field(4, signed=True).low, Field(4, signed=True).high) == (-8, 7)
    record = Record({"x": Field(2), "plane": Field(2, signed=True)})
    assert record.pack({"x": 3, "plane": -1}) == 0b11_11
    assert record.unpack(0b11_11) == {"x": 3, "plane": -1}
    assert Record.unsigned({"low": 2}).unpack(3) == {"low": 3}


def test_values_that_do_not_fit_are_refused():
    record = Record({"low": Field(4, signed=True), "columns": Field(2)})
    for value, name, text in (
        (4, "columns", "0 to 3, not 4"),
        (8, "low", "-8 to 7, not 8"),
        (-9, "low", "-8 to 7, not -9"),
    ):
        values = {"low": 0, "columns": 0} | {name: value}
        with pytest.raises(ValueError, match=f"^{name} must be {text}$"):
            record.pack(values)
    with pytest.raises(ValueError, match=r"^Fields must be \('low', 'columns'\), not \('low',\)$"):
        record.pack({"low": 1})


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        pytest.param(config, kind, id=f"{config.name}-{kind.__name__}")
        for config in CONFIGS
        for kind in instructions(config).values()
    ],
)
def test_decode_reverses_encode_and_lines_fit(config, kind):
    for side in (0, 1):
        operands = {name: end[side] for name, end in limits(kind.record(config)).items()}
        instruction = kind(**operands)
        line = instruction.encode(config)
        assert line & 0b111 == kind.opcode
        assert line < 1 << isa.line_bits(config, Section.PROGRAM)
        assert isa.decode(config, line) == instruction
        assert vars(isa.decode(config, line)) == operands


def test_every_opcode_has_its_instruction():
    known = instructions(CONFIGS[-1])
    assert {number: kind.opcode for number, kind in known.items()} == {n: n for n in list(Opcode)[1:]}
    assert {*known} - {*instructions(CONFIGS[0])} == {Opcode.SYNC}
    assert [kind.__name__.upper() for kind in KINDS] == [opcode.name for opcode in list(Opcode)[1:]]


def test_signed_operands_are_coordinates_clip_bounds_and_biases():
    records = {kind.__name__: kind.record(CONFIGS[1]) for kind in (*KINDS, Channel)}
    signed = {(kind, name) for kind, record in records.items() for name, one in record.fields.items() if one.signed}
    operands = {("Pass", "x"), ("Pass", "y"), ("Drain", "low"), ("Drain", "high"), ("Drain", "skip_shift")}
    assert signed == operands | {("Channel", "bias")}


def test_an_instruction_by_hand():
    # Feature lines of 10 bits: OUTPUT of 3 lines (count 2) from line 5.
    assert Output(address=5, count=2).encode(CONFIGS[1]) == (2 << 13) | (5 << 3) | 4
    assert End().encode(CONFIGS[1]) == 5


def test_operands_are_all_given_and_fit():
    with pytest.raises(TypeError, match="missing 1 required keyword-only argument: 'count'"):
        Output(address=5)  # type: ignore[call-arg]
    with pytest.raises(ValueError, match=r"^groups must be 0 to 7, not 8$"):
        Pass.zero(groups=8).encode(CONFIGS[1])
    with pytest.raises(ValueError, match=r"^step_x must be 0 to 15, not -1$"):
        Window.zero(step_x=-1).encode(CONFIGS[1])
    assert Pass.zero(groups=3) != Pass.zero()
    with pytest.raises(AttributeError):
        Pass.zero().groups = 1  # type: ignore[misc]


@pytest.mark.parametrize("number", [0, 6, 7])
def test_illegal_opcodes_are_refused(number):
    with pytest.raises(ValueError, match=re.escape(f"Opcode must be 1 to 5, not {number}")):
        isa.decode(CONFIGS[1], number)
    if number != Opcode.SYNC:
        with pytest.raises(ValueError, match=re.escape(f"Opcode must be 1 to 6, not {number}")):
            isa.decode(CONFIGS[-1], number)


def test_a_channel_by_hand():
    # 28 bits of bias, then shift, minus and on of three digits in 6 bits each, then the right shift.
    channel = Channel(-2, (Digit(5, 0, 1), Digit(2, 1, 1)), 9)
    assert channel.multiplier == 32 - 4
    word = channel.encode(CONFIGS[1])
    assert word == (9 << 46) | (0b11_0010 << 34) | (0b10_0101 << 28) | (1 << 28) - 2
    decoded = Channel.decode(CONFIGS[1], word)
    assert decoded == Channel(-2, (*channel.digits, Digit()), 9)
    assert decoded.multiplier == channel.multiplier
    assert Channel(0, (Digit(3, 1, 0),), 0).multiplier == 0
    with pytest.raises(ValueError, match=r"^Channel must have at most 3 digits, not 4$"):
        Channel(0, (Digit(),) * 4, 0).encode(CONFIGS[1])
    with pytest.raises(ValueError, match=r"^shift1 must be 0 to 15, not 16$"):
        Channel(0, (Digit(), Digit(16)), 0).encode(CONFIGS[1])


def test_a_channel_line_holds_a_channel_a_unit():
    config = CONFIGS[2]
    channels = tuple(Channel(n - 2, (Digit(n, n & 1, 1),) * 8, n) for n in range(4))
    line = isa.encode_channels(config, channels)
    assert 0 < line < 1 << isa.line_bits(config, Section.CHANNEL)
    assert isa.decode_channels(config, line) == channels
    assert isa.encode_channels(config, channels[:1]) == channels[0].encode(config)


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
    addresses = {name: register.address for name, register in REGISTERS.items()}
    first = ("ID", "VERSION", "BUILD", "SHAPE", "CONTROL", "STATUS", "CYCLES", "PASSES")
    assert [addresses[name] for name in first] == [0, 4, 8, 12, 16, 20, 24, 28]
    assert sorted(addresses.values()) == list(range(0, 4 * len(addresses), 4))
    assert isa.SECTION_HEADER.width == STATUS.width * 2 == 32


def test_registers_say_who_may_reach_them():
    assert {name for name, register in REGISTERS.items() if register.writable} == {"CONTROL", "MODE"}
    assert {name for name, register in REGISTERS.items() if not register.readable} == {"CONTROL"}


def test_a_status_by_hand():
    assert Status.decode(0x0506) == Status(busy=False, done=True, loaded=True, error=Error.TRUNCATED)
    assert Status.decode(0x0001) == Status(busy=True, done=False, loaded=False, error=Error.NONE)
    with pytest.raises(ValueError, match="99 is not a valid Error"):
        Status.decode(99 << 8)
