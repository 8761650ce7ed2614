"""Entries of the transfer list, by hand, and what the pass-level model makes of them."""

import numpy as np
import pytest

from twofold.golden.config import ArrayConfig
from twofold.golden.isa import Section
from twofold.golden.memories import Memories, lanes_of, lines_of
from twofold.golden.outside import DeadlockError, Outside, line_bytes, read_lines, write_lines
from twofold.golden.transfers import Transfer, bus_beats, entry_beats

CONFIG = ArrayConfig(name="outside", pe="log", rows=4, cols=4, word_bits=3, memory="axi4", bus_bits=32)
#: Widths of the fields of an entry where a beat has 4 bytes.
WIDTHS = {"kind": 3, "store": 1, "after": 24, "memory": 30, "memory_step": 30, "line": 24, "line_step": 24}


def lists(*entries):
    """A memory that begins with these entries and an end."""
    size = entry_beats(CONFIG) * 4
    memory = np.zeros(4096, dtype=np.uint8)
    for number, entry in enumerate([*entries, Transfer(kind=Section.END)]):
        bits = entry.encode(CONFIG).to_bytes(size, "little")
        memory[number * size : (number + 1) * size] = np.frombuffer(bits, dtype=np.uint8)
    outside = Outside(Memories(CONFIG))
    outside.memory = memory
    return outside


def test_an_entry_by_hand():
    assert Transfer.record(CONFIG).widths == WIDTHS | {"rows": 12, "length": 20}
    assert entry_beats(CONFIG) == 6  # 168 bits
    entry = Transfer(
        kind=Section.WEIGHT, after=5, memory=7, memory_step=9, line=11, line_step=13, rows=4096, length=1 << 20
    )
    places = {"kind": 2, "after": 5 << 4, "memory": 7 << 28, "memory_step": 9 << 58, "line": 11 << 88}
    places |= {"line_step": 13 << 112, "rows": 4095 << 136, "length": ((1 << 20) - 1) << 148}
    assert entry.encode(CONFIG) == sum(places.values())
    assert Transfer.decode(CONFIG, entry.encode(CONFIG)) == entry
    for wrong in ({"rows": 0}, {"length": 0}, {"rows": 4097}, {"after": 1 << 24}, {"memory": 1 << 30}):
        with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be"):
            Transfer(kind=Section.FEATURE, **wrong).encode(CONFIG)


@pytest.mark.parametrize(("bits", "feature", "channel"), [(32, 1, 2), (64, 1, 1), (128, 1, 1)])
def test_lines_take_whole_beats(bits, feature, channel):
    config = ArrayConfig(name="outside", pe="log", rows=4, cols=4, word_bits=3, memory="axi4", bus_bits=bits)
    assert bus_beats(config, Section.FEATURE) == feature  # 4 lanes of 8 bits
    assert bus_beats(config, Section.CHANNEL) == channel  # 52 bits
    assert Transfer(kind=Section.CHANNEL, rows=3, length=5).beats(config) == 15 * channel
    memory = np.full(64, 255, dtype=np.uint8)
    lines = [0x0403_0201, 0xFF00_FF00]
    write_lines(config, memory, bits // 8, Section.FEATURE, lines)
    assert memory[bits // 8 : bits // 8 + 4].tolist() == [1, 2, 3, 4]
    assert memory[bits // 8 * 2] == 0
    assert read_lines(config, memory, bits // 8, Section.FEATURE, 2) == lines
    assert line_bytes(config, Section.CHANNEL) == channel * bits // 8


def test_lanes_and_lines():
    assert lanes_of([0b101_011_1], 3, 2).tolist() == [[0b111, 0b010]]
    lanes = np.array([[1, 0, 7], [5, 6, 2]])
    assert lines_of(lanes, 3) == [0b111_000_001, 0b010_110_101]
    assert lanes_of(lines_of(lanes, 3), 3, 3).tolist() == lanes.tolist()


def test_a_rectangle_comes_and_goes():
    load = Transfer(kind=Section.FEATURE, memory=100, memory_step=10, line=20, line_step=4, rows=2, length=3)
    store = Transfer(kind=Section.FEATURE, store=1, memory=200, memory_step=3, line=20, line_step=4, rows=2, length=3)
    outside = lists(load, store)
    words = np.arange(1, 1025, dtype="<u4")
    outside.memory[64 * 4 :] = words.view(np.uint8)[64 * 4 :]
    outside.begin()
    outside.finish()
    lines = lines_of(outside.memories.feature[20:27], 8)
    assert lines == [101, 102, 103, 0, 111, 112, 113]
    assert read_lines(CONFIG, outside.memory, 800, Section.FEATURE, 6) == [101, 102, 103, 111, 112, 113]
    assert outside.done == 2


def test_transfers_wait_and_deadlocks_are_named():
    outside = lists(Transfer(kind=Section.WEIGHT, memory=100), Transfer(kind=Section.CHANNEL, after=2, memory=101))
    outside.begin()
    assert outside.done == 1
    with pytest.raises(DeadlockError, match="Transfer 1 waits for DRAIN 2 behind the program's END"):
        outside.finish()
    with pytest.raises(DeadlockError, match=r"Transfer 1 waits for DRAIN 2; 0 DRAINs are done"):
        outside.advance(2)
    outside.drained = 2
    outside.advance(2)
    with pytest.raises(DeadlockError, match="Transfer 2 is not in the list"):
        outside.advance(3)
    outside = lists(Transfer(kind=Section.FEATURE, memory=1023, length=2))
    with pytest.raises(ValueError, match="memory outside must have 4100 bytes, not 4096"):
        outside.begin()
    outside = lists(Transfer(kind=Section.FEATURE, line=CONFIG.feature_depth - 1, length=2))
    with pytest.raises(ValueError, match="feature memory must have 1025 lines, not 1024"):
        outside.begin()
    with pytest.raises(DeadlockError, match="Transfer 0 is not in the list"):
        lists().begin()
