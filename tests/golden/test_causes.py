"""Causes by hand on a program whose times `test_timing` states, and sums on random networks."""

import pytest

from tests.golden.test_timing import CONFIG, END, OUTPUT, drain, tile, window
from twofold.golden.causes import CAUSES, LOST, WORK, causes, share_out, totals
from twofold.golden.config import load_config
from twofold.golden.machine import Machine, infer
from twofold.golden.timing import timing
from twofold.mapper.compiler import compile_network
from twofold.testing.random_network import random_inputs, random_network


def test_every_instruction_by_hand():
    program = [window(3, 2), tile(4), tile(2), drain(4), tile(4, wait=1), tile(1), drain(4), OUTPUT, END]
    rows = causes(CONFIG, program, timing(CONFIG, program))
    # array, load, drain, requantiser, fetch, memory, start
    assert rows.tolist() == [
        [0, 0, 0, 0, 0, 0, 2],
        [0, 0, 0, 0, 0, 0, 6],
        [6, 0, 0, 0, 0, 0, 0],
        [6, 0, 0, 0, 0, 0, 0],
        [1, 0, 7, 34, 0, 0, 0],  # from cycle 21 on; the sums settle in 20 + 8
        [6, 0, 0, 0, 0, 0, 0],
        [6, 0, 0, 0, 0, 0, 0],
        [1, 0, 7, 34, 0, 0, 0],
        [1, 0, 0, 0, 1, 0, 0],
    ]
    assert totals(rows) == {"array": 27, "load": 0, "drain": 14, "requantiser": 68, "fetch": 1, "memory": 0, "start": 8}
    assert totals(rows[:0]) == dict.fromkeys(CAUSES, 0)


def test_the_array_is_shared_out_to_the_last_cycle():
    passes = {"weights": 50, "words": 30, "constants": 7}
    assert share_out(90, passes, 40) == {"useful": 40, "idle": 13, "words": 30, "constants": 7}
    # Tiles of zeros are left out, so multiply-accumulates may be more than the passes hold.
    assert share_out(90, passes, 1000) == {"useful": 53, "idle": 0, "words": 30, "constants": 7}
    assert share_out(32, passes, 40) == {"useful": 0, "idle": 0, "words": 30, "constants": 2}
    assert share_out(9, {}, 4) == {"useful": 4, "idle": 5, "words": 0, "constants": 0}


@pytest.mark.parametrize("build", ["log_4x4", "subset_8x8"])
def test_causes_add_up_to_the_cycles_of_random_networks(build):
    config = load_config(build)
    machine, seen = Machine(config), set()
    for seed in range(6):
        network = random_network(seed, config, layers=5)
        image = compile_network(network, config)
        machine.write(image.beats)
        assert sum(image.lost.values()) == infer(machine, image, random_inputs(seed, network, 1)[0]).run.cycles
        for layer in image.layers:
            assert (tuple(layer.spent), tuple(layer.work), tuple(layer.lost)) == (CAUSES, WORK, LOST)
            assert sum(layer.lost.values()) == sum(layer.spent.values()) == layer.cycles
            assert sum(layer.work.values()) == layer.spent["array"] and min(layer.lost.values()) >= 0
            if layer.macs:
                assert layer.work["useful"] > 0
            else:
                assert layer.work["useful"] == layer.work["words"] == 0
        seen |= {name for name, count in image.lost.items() if count}
        # Only the tail, OUTPUT and END, is of no layer.
        assert all(image.lost[name] >= sum(layer.lost[name] for layer in image.layers) for name in LOST)
    assert seen == {*LOST} - {"memory"}
