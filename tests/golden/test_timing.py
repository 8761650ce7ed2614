"""Times computed by hand from the table of docs/machine.md, with latencies pinned here."""

from dataclasses import replace

import pytest

from twofold.golden.config import ArrayConfig
from twofold.golden.isa import Drain, End, Output, Pass, Window
from twofold.golden.timing import Step, cycles, timing


class Pinned(ArrayConfig):
    """A build whose latencies this test knows."""

    fetch_cycles = 2
    min_pass = 4
    array_latency = 8
    requant_latency = 10


CONFIG = Pinned(name="pinned", pe="log", rows=4, cols=4, word_bits=3)


def window(width, height):
    return Window.zero(width=width, height=height)


def tile(columns, wait=0, kept=0):
    return Pass.zero(groups=columns - 1, wait=wait, kept=kept)


def drain(groups):
    return Drain.zero(groups=groups - 1)


OUTPUT, END = Output.zero(), End()


def test_every_instruction_by_hand():
    program = [window(3, 2), tile(4), tile(2), drain(4), tile(4, wait=1), tile(1), drain(4), OUTPUT, END]
    steps = timing(CONFIG, program)
    # f, a, cycles, then array, fetch, load, requantiser
    assert steps == (
        Step(0, 2, 2, 0, 2, 0, 0),
        Step(2, 8, 6, 0, 2, 4, 0),
        Step(4, 14, 6, 6, 0, 0, 0),  # the second tile loads beside the first pass
        Step(9, 20, 6, 6, 0, 0, 0),
        Step(15, 62, 42, 1, 0, 0, 41),  # idle = 20 + 8 + 6 * 4 + 10; its tile loads beside the second pass
        Step(21, 68, 6, 6, 0, 0, 0),
        Step(63, 74, 6, 6, 0, 0, 0),
        Step(69, 116, 42, 1, 0, 0, 41),  # idle = 74 + 42
        Step(75, 117, 2, 1, 1, 0, 0),
    )
    assert cycles(steps) == 118


def test_passes_without_wait_run_beside_the_requantiser():
    steps = timing(CONFIG, [window(8, 8), tile(4), drain(4), tile(4), tile(4), drain(4), END])
    assert [step.accepted for step in steps] == [2, 8, 72, 73, 137, 72 + 8 + 256 + 10, 346 + 8 + 256 + 10]


@pytest.mark.parametrize(("positions", "gap"), [(1, 4), (3, 4), (4, 4), (5, 5), (20, 20)])
def test_a_kept_tile_costs_no_load_whatever_its_columns_say(positions, gap):
    steps = timing(CONFIG, [window(positions, 1), tile(4), tile(4, kept=1), tile(1, kept=1), drain(1), tile(2, kept=1)])
    accepted = [step.accepted for step in steps]
    assert accepted[1:4] == [8, 8 + gap, 8 + 2 * gap]
    assert steps[5].accepted - steps[4].accepted == 1
    assert sum(step.load for step in steps[2:]) == 0


def test_a_tile_loads_beside_a_drain_that_waits_but_not_past_a_window():
    steps = timing(CONFIG, [window(3, 2), tile(4), drain(4), tile(4), drain(4), tile(4)])
    assert steps[4].accepted == steps[2].accepted + 42
    assert steps[5].accepted == steps[4].accepted + 1
    steps = timing(CONFIG, [window(3, 2), tile(4), drain(4), tile(4), drain(4), window(3, 2), tile(4)])
    assert steps[5].accepted == steps[4].accepted + 1
    # The line behind the window is fetched when the window is offered; then its four columns are read.
    assert steps[6].accepted == steps[5].accepted + 2 + 4


def test_a_tile_loads_beside_passes_that_keep_theirs():
    steps = timing(CONFIG, [window(5, 1), tile(4), tile(4, kept=1), tile(8)])
    # It is fetched when the kept pass is offered, in cycle 9, and read from cycle 11 to 18.
    assert [step.accepted for step in steps] == [2, 8, 13, 19]


def test_a_kept_tile_waits_for_the_requantiser_as_others_do():
    steps = timing(CONFIG, [window(3, 2), tile(4), drain(4), tile(4, wait=1, kept=1)])
    assert steps[3].accepted == steps[2].accepted + 8 + 6 * 4 + 10


@pytest.mark.parametrize(("positions", "gap"), [(1, 6), (5, 6), (6, 6), (7, 7), (20, 20)])
def test_a_pass_costs_its_positions_or_the_load_of_the_next_tile(positions, gap):
    steps = timing(CONFIG, [window(positions, 1), tile(6), tile(6), tile(6), END])
    assert steps[2].accepted - steps[1].accepted == gap
    assert steps[3].accepted - steps[2].accepted == gap


def test_a_pass_of_few_positions_holds_the_array_for_min_pass_cycles():
    steps = timing(CONFIG, [window(1, 1), tile(1), tile(1), drain(1), END])
    assert [step.accepted for step in steps] == [2, 5, 9, 13, 13 + 8 + 1 + 10]


def test_instructions_are_two_cycles_apart():
    steps = timing(CONFIG, [window(1, 1)] * 4)
    assert [step.accepted for step in steps] == [2, 4, 6, 8]


@pytest.mark.parametrize(
    ("width", "height", "step", "gap"), [(4, 1, 1, 6), (3, 2, 1, 10), (3, 2, 2, 14), (2, 3, 5, 24)]
)
def test_a_chain_pass_streams_every_position_of_its_rows(width, height, step, gap):
    chain = Pass.zero(chain=1, kept=1)
    geometry = Window.zero(width=width, height=height, step_x=step)
    steps = timing(CONFIG, [geometry, chain, chain, tile(1, kept=1), tile(1, kept=1), drain(2), END])
    accepted = [step.accepted for step in steps]
    begin = accepted[1]
    assert accepted[2:5] == [begin + gap, begin + 2 * gap, begin + 2 * gap + width * height]
    # A drain takes as long as it would.
    assert accepted[6] - accepted[5] == 8 + 2 * width * height + 10


def test_windows_do_not_wait_for_the_array():
    steps = timing(CONFIG, [window(16, 4), tile(4), window(2, 2), tile(1), END])
    assert [step.accepted for step in steps] == [2, 8, 9, 72, 76]


@pytest.mark.parametrize(
    ("units", "lane", "groups", "plain", "skip"),
    [
        (1, 0, 8, 8, 8),  # two lines of four groups
        (1, 3, 2, 2, 4),  # two lines of one group
        (1, 3, 6, 6, 8),  # one, four, one
        (1, 2, 1, 1, 2),
        (2, 0, 3, 3, 4),  # two and one
        (4, 0, 2, 2, 4),
    ],
)
def test_a_line_with_a_skip_takes_two_cycles_at_least(units, lane, groups, plain, skip):
    config = ArrayConfig(name="t", pe="log", rows=4, cols=8, word_bits=3, requant_units=units)
    given = Drain.zero(lane=lane, groups=groups - 1)
    assert given.position_cycles(config) == plain
    assert replace(given, skip=1).position_cycles(config) == skip
    idle = {one: timing(config, [window(2, 2), replace(given, skip=one), END])[-1].accepted for one in (0, 1)}
    assert idle[1] - idle[0] == 4 * (skip - plain)
