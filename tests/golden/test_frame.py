import random

import pytest

from twofold.golden.config import ArrayConfig
from twofold.golden.frame import FrameError, SectionLines, checksum, frame, parse
from twofold.golden.isa import FRAME_MAGIC, Section
from twofold.golden.registers import Error
from twofold.testing.damage import damaged

LOG = ArrayConfig(name="log", pe="log", rows=8, cols=8, word_bits=3, feature_depth=16)
SUBSET = ArrayConfig(name="subset", pe="subset", rows=4, cols=4, word_bits=4, point_sets=2)
FEATURES = (Section.FEATURE, 3, [0x1122334455667788, 0xFFFFFFFF00000001])


def test_beats_by_hand():
    beats = [
        FRAME_MAGIC,
        LOG.build_hash,
        0x01000002,
        3,
        0x55667788,
        0x11223344,
        0x00000001,
        0xFFFFFFFF,
        0,
    ]
    assert frame(LOG, [FEATURES]) == [*beats, crc(b"".join(beat.to_bytes(4, "little") for beat in beats))]


def crc(data):
    """CRC-32 bit by bit."""
    register = 0xFFFFFFFF
    for byte in data:
        register ^= byte
        for _ in range(8):
            register = register >> 1 ^ (0xEDB88320 if register & 1 else 0)
    return register ^ 0xFFFFFFFF


def test_the_checksum_is_ethernets():
    assert crc(b"123456789") == 0xCBF43926  # the check value of every catalogue
    assert checksum([0x34333231, 0x38373635]) == crc(b"12345678")
    assert checksum([]) == 0


@pytest.mark.parametrize("seed", range(4))
def test_no_damage_is_taken_silently(seed):
    numbers = random.Random(seed)
    refused = 0
    for _ in range(1000):
        lines = [numbers.getrandbits(64) for _ in range(numbers.randint(0, 3))]
        good = frame(LOG, [(Section.FEATURE, 1, lines), (Section.WEIGHT, 2, [7, 9])])
        bad = damaged(good, numbers, resealed=0)
        if bad != good:
            with pytest.raises(FrameError):
                parse(LOG, bad)
            refused += 1
    assert refused > 500


def test_beats_that_change_places_and_bits_that_change_in_two_beats_are_seen():
    good = frame(LOG, [FEATURES])
    for one in range(len(good)):
        for other in range(one):
            swapped = list(good)
            swapped[one], swapped[other] = good[other], good[one]
            flipped = [[*good] for _ in range(32)]
            for bit, beats in enumerate(flipped):
                beats[one] ^= 1 << bit
                beats[other] ^= 1 << bit
            for bad in [swapped, *flipped]:
                with pytest.raises(FrameError):
                    parse(LOG, bad)


@pytest.mark.parametrize("config", [LOG, SUBSET], ids=["log", "subset"])
def test_parse_is_the_reverse(config):
    sections = [(Section.WEIGHT, 5, [1, 2, 3]), (Section.CHANNEL, 0, [1 << 40]), (Section.PROGRAM, 7, [9])]
    if config is SUBSET:
        sections.append((Section.POINTS, 8, [7, 15]))
    assert [tuple(section) for section in parse(config, frame(config, sections))] == [
        (kind, address, tuple(lines)) for kind, address, lines in sections
    ]


def test_sections_without_lines_are_left_out():
    assert frame(LOG, [(Section.WEIGHT, 0, [])]) == frame(LOG, [])
    assert parse(LOG, frame(LOG, [])) == ()


def change(**beats):
    def damage(good):
        return [beats.get(f"b{n}", beat) for n, beat in enumerate(good)]

    return damage


HASH = f"{LOG.build_hash:#010x}"
DAMAGE = {
    "magic": (change(b0=1), Error.MAGIC, "Frame must begin with 0x444c4632, not 0x00000001"),
    "build": (change(b1=2), Error.BUILD, f"Frame must be made for build {HASH}, not 0x00000002"),
    "section": (
        change(b2=0x06000001),
        Error.SECTION,
        "Section must be one that the build has, not {'count': 1, 'kind': 6}",
    ),
    "points of a log PE": (
        change(b2=0x05000001),
        Error.SECTION,
        "Section must be one that the build has, not {'count': 1, 'kind': 5}",
    ),
    "end with lines": (
        change(b2=0x00000001),
        Error.SECTION,
        "Section must be one that the build has, not {'count': 1, 'kind': 0}",
    ),
    "range": (change(b3=15), Error.RANGE, "FEATURE section must end within 16 lines, not at 17"),
    "huge address": (change(b3=0xFFFFFFFF), Error.RANGE, "FEATURE section must end within 16 lines, not at 4294967297"),
    "truncated": (lambda good: good[:6], Error.TRUNCATED, "Frame must end with an END section, not after 6 beats"),
    "empty": (lambda good: [], Error.TRUNCATED, "Frame must end with an END section, not after 0 beats"),
    "no checksum": (lambda good: good[:-1], Error.TRUNCATED, "Frame must end with an END section, not after 9 beats"),
    "trailing": (lambda good: [*good, 0], Error.TRAILING, "Frame must end after 10 beats, not 11"),
    "flipped bit": (change(b5=0x11223345), Error.CHECKSUM, None),
    "checksum before trailing": (lambda good: [*good[:-1], 0, 0], Error.CHECKSUM, None),
}


@pytest.mark.parametrize(("damage", "code", "message"), DAMAGE.values(), ids=DAMAGE)
def test_damage_is_named(damage, code, message):
    with pytest.raises(FrameError) as caught:
        parse(LOG, damage(frame(LOG, [FEATURES])))
    assert caught.value.code is code
    if message is not None:
        assert str(caught.value) == message
    else:
        assert str(caught.value).startswith("Checksum must be 0x")


def test_an_error_says_what_was_written_before_it():
    beats = frame(LOG, [(Section.PROGRAM, 0, [1]), FEATURES])
    with pytest.raises(FrameError) as caught:
        parse(LOG, beats[:-3])
    assert caught.value.sections == (
        SectionLines(Section.PROGRAM, 0, (1,)),
        SectionLines(Section.FEATURE, 3, (0x1122334455667788,)),
    )


@pytest.mark.parametrize(
    ("section", "message"),
    [
        (
            (Section.POINTS, 0, [1]),
            "Section must be one of ('FEATURE', 'WEIGHT', 'CHANNEL', 'PROGRAM'), not 'POINTS'",
        ),
        ((Section.FEATURE, 15, [1, 2]), "FEATURE section must end within 16 lines, not at 17"),
        ((Section.WEIGHT, 0, [1 << 24]), "WEIGHT line must have 24 bits, not 16777216"),
        ((Section.WEIGHT, 0, [-1]), "WEIGHT line must have 24 bits, not -1"),
    ],
)
def test_impossible_sections_are_refused(section, message):
    with pytest.raises(ValueError) as caught:
        frame(LOG, [section])
    assert str(caught.value) == message
