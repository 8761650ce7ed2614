"""Tables: pointwise functions behind the clip, integers in and integers out."""

import re
from dataclasses import replace

import numpy as np
import pytest

from tests.golden import naive
from tests.golden.test_machine import END, IDENTITY, LOG, ONE, X, channel, column, drain, result, tile, window
from tests.golden.test_skip import LAYER, MAP, ONES, network, random_case
from tests.golden.test_skip import X as VALUES
from twofold.golden import container, layers
from twofold.golden.frame import frame
from twofold.golden.image import pack_tensor
from twofold.golden.isa import Drain, Section, line_bits, line_count, section_kinds
from twofold.golden.machine import Machine, StoppedError
from twofold.golden.network import INPUT, SkipTensor, Tensor
from twofold.golden.table import PointwiseTable
from twofold.train import reference

#: Of -4 to 3.
SIGNED = PointwiseTable(3, True, 0.5, np.array([-4, -3, -2, 9, 0, 10, 20, 30]))


def refuses(kind, make, message):
    with pytest.raises(kind, match=f"^{re.escape(message)}$"):
        make()


def test_the_entry_of_the_clipped_value_is_the_result_by_hand():
    layer = replace(LAYER, low=-4, high=2, table=SIGNED)
    # x/2 and x: 0, 2, 0, 2 and 1, 2, -3, 2 after rounding and clip.
    y = layers.run(network(layer), VALUES)["y"]
    np.testing.assert_array_equal(y, np.array([[0, 20, 0, 20], [10, 20, -3, 20]])[None, :, None])
    assert layer.range == (-4, 20)
    with_skip = replace(layer, skip=SkipTensor(INPUT, -1))
    # x and 3x/2: 1, 2, -1, 2 and 2, 2, -4, 2; the skip is within the one rounding.
    y = layers.run(network(with_skip), VALUES)["y"]
    np.testing.assert_array_equal(y, np.array([[10, 20, 9, 20], [20, 20, -4, 20]])[None, :, None])


@pytest.mark.parametrize("seed", range(6))
def test_three_models_agree_with_loops(seed):
    net, x = random_case(seed)
    rng = np.random.default_rng(seed)
    table = PointwiseTable(5, bool(seed % 2), 1.0, rng.integers(-128, 128, 32))
    net = replace(net, layers=(net.layers[0], replace(net.layers[1], low=table.low, high=table.high, table=table)))
    found, other = layers.run(net, x), reference.run(net, x)
    for n, image in enumerate(x):
        first = naive.output(net, net.layers[0], {INPUT: image.tolist()})
        second = naive.output(net, net.layers[1], {INPUT: image.tolist(), "x": first})
        for tensors in (found, other):
            np.testing.assert_array_equal(tensors["y"][n], second)
    acc = layers.accumulate(net, net.output, {INPUT: x, **found})
    skip = ({INPUT: x} | found)[net.output.skip.source]
    np.testing.assert_array_equal(layers.requantise(net.output, acc, skip), found["y"])


def test_words_stand_by_the_values_low_bits():
    assert SIGNED.words(3, 8) == (0, 10, 20, 30, 252, 253, 254, 9)
    assert SIGNED.words(4, 6) == 2 * (0, 10, 20, 30, 60, 61, 62, 9)
    assert PointwiseTable(2, False, 1.0, np.array([3, 2, 1, 0])).words(3, 2) == 2 * (3, 2, 1, 0)


TABLED = replace(LOG, tables=2, table_bits=4)


def tabled(program):
    """A machine that adds nothing to lane and table: entry n of table 1 is 100 + n, of table 0 its number."""
    machine = Machine(TABLED)
    sections = [
        (Section.PROGRAM, 0, [instruction.encode(TABLED) for instruction in program]),
        (Section.WEIGHT, 0, [column(TABLED, ONE, 0), column(TABLED, 0, ONE)]),
        (Section.CHANNEL, 0, [channel(TABLED, -768 - 1023, IDENTITY, 0)] * 2),
        (Section.TABLES, 0, [*range(16), *range(100, 116)]),
        (Section.FEATURE, 0, pack_tensor(TABLED, np.array(X))),
    ]
    machine.write(frame(TABLED, sections))
    return machine


def test_a_drain_looks_up_what_it_clipped():
    for operands, expected in (
        ({}, [[[3, 15]], [[5, 7]]]),
        ({"tabled": 1}, [[[3, 15]], [[5, 7]]]),
        ({"tabled": 1, "table": 1}, [[[103, 115]], [[105, 107]]]),
    ):
        machine = tabled([window(2, 1, 2, 1), tile(), drain(high=15, **operands), END])
        machine.run()
        assert result(machine, (2, 1, 2)) == expected
    # 200 becomes -8 + 200 - 200 = -8, whose low bits are 8.
    machine = tabled([window(2, 1, 2, 1), tile(), drain(low=-8, high=-8, tabled=1, table=1), END])
    machine.run()
    assert result(machine, (2, 1, 2)) == [[[108, 108]], [[108, 108]]]


def test_a_table_that_the_build_lacks_stops_the_model():
    three = replace(TABLED, tables=3)
    machine = Machine(three)
    program = [window(2, 1, 2, 1), tile(), drain(tabled=1, table=3), END]
    sections = [(Section.PROGRAM, 0, [one.encode(three) for one in program]), (Section.CHANNEL, 0, [0, 0])]
    machine.write(frame(three, [*sections, (Section.FEATURE, 0, pack_tensor(three, np.array(X)))]))
    with pytest.raises(StoppedError, match=r"^Line 2: table line must be below 48, not 63$"):
        machine.run()


def test_only_builds_with_tables_know_of_them():
    assert Section.TABLES not in section_kinds(LOG)
    assert {name: Drain.record(LOG)[name].width for name in ("tabled", "table")} == {"tabled": 0, "table": 0}
    assert {name: Drain.record(TABLED)[name].width for name in ("tabled", "table")} == {"tabled": 1, "table": 1}
    assert (line_bits(TABLED, Section.TABLES), line_count(TABLED, Section.TABLES)) == (8, 32)
    assert replace(LOG, table_bits=4).build_hash == LOG.build_hash
    assert len({one.build_hash for one in (LOG, TABLED, replace(TABLED, tables=1), replace(TABLED, table_bits=5))}) == 4
    assert TABLED.requant_latency == LOG.requant_latency + 1
    assert (LOG.value_bits, TABLED.value_bits, replace(TABLED, table_bits=10).clip_bits) == (8, 8, 11)
    refuses(ValueError, lambda: drain(tabled=1).encode(LOG), "tabled must be 0 to 0, not 1")


def test_tables_come_back_from_files(tmp_path):
    container.save(network(replace(LAYER, low=-4, high=3, table=SIGNED)), tmp_path / "net")
    found = container.load(tmp_path / "net").output.table
    assert (found.bits, found.signed, found.scale) == (3, True, 0.5)
    np.testing.assert_array_equal(found.entries, SIGNED.entries)


def test_impossible_tables_are_refused():
    entries = SIGNED.entries
    refuses(ValueError, lambda: PointwiseTable(1, True, 1.0, entries[:2]), "Bits of a table must be 2 to 10, not 1")
    refuses(TypeError, lambda: PointwiseTable(3.0, True, 1.0, entries), "Bits of a table must be an integer, not 3.0")
    refuses(TypeError, lambda: PointwiseTable(3, 1, 1.0, entries), "Signedness of a table must be true or false, not 1")
    refuses(
        ValueError,
        lambda: PointwiseTable(3, True, 0.0, entries),
        "Scale of a table must be positive and finite, not 0.0",
    )
    refuses(TypeError, lambda: PointwiseTable(3, True, "1", entries), "Scale of a table must be a number, not '1'")
    refuses(
        ValueError,
        lambda: PointwiseTable(3, True, 1.0, entries[:4]),
        "Entries of a table must be int64 of shape (8,), not int64 of (4,)",
    )
    refuses(
        ValueError,
        lambda: replace(LAYER, table=SIGNED),
        "Layer 'y': clip bounds must be within -4 and 3, not -128, 127",
    )
    small = replace(LAYER, output=Tensor(MAP, 4, True, 1.0), low=-4, high=3)
    refuses(
        ValueError,
        lambda: replace(small, table=SIGNED),
        "Layer 'y': entries of the table must be within -8 and 7, not -4 to 30",
    )
    assert replace(small, high=-1, table=replace(SIGNED, entries=np.minimum(entries, 7))).range == (-4, 7)
    assert ONES.dtype == np.int64
