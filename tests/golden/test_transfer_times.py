"""When transfers are done, against what the hardware took: the bench of `transfers` and tests/sim measure the same."""

import pytest

from tests.support.outside import CYCLES, LATENCIES, OUTSIDE, outside_network
from twofold.golden.timing import cycles
from twofold.golden.transfer_clock import TransferClock
from twofold.mapper.compiler import compile_network
from twofold.testing.random_transfers import random_transfers

#: Of random lists, the cycle in which each transfer and then the list is done, by seed, latency and first beat.
TIMES = {
    (1, 1, 0): [212, 220, 232, 321, 399, 482, 587, 644, 645],
    (1, 150, 4608): [510, 667, 828, 1155, 1234, 1485, 1739, 1945, 1946],
    (2, 1, 0): [33, 418, 425, 849, 1018, 1161, 1190, 1195, 1195],
    (2, 150, 4608): [331, 854, 861, 1434, 1603, 1746, 1789, 1922, 1922],
    (3, 1, 0): [21, 579, 662, 745, 1295, 1378, 1383, 1397, 1398],
    (3, 150, 4608): [319, 1026, 1198, 1371, 1922, 2094, 2100, 2263, 2264],
    (4, 1, 0): [123, 130, 142, 631, 654, 666, 673, 685, 685],
    (4, 150, 4608): [421, 476, 637, 1275, 1298, 1444, 1596, 1757, 1757],
    (5, 1, 0): [97, 108, 744, 760, 771, 840, 1407, 1416, 1417],
    (5, 150, 4608): [484, 496, 1278, 1294, 1446, 1661, 2316, 2474, 2475],
    (6, 1, 0): [50, 63, 227, 231, 243, 262, 283, 750, 750],
    (6, 150, 4608): [348, 510, 850, 854, 1015, 1183, 1353, 1969, 1969],
    (7, 1, 0): [19, 470, 1363, 1374, 1528, 1996, 2161, 2758, 2758],
    (7, 150, 4608): [317, 917, 1959, 2119, 2422, 3039, 3353, 3950, 3950],
    (8, 1, 0): [21, 497, 534, 541, 667, 680, 720, 724, 724],
    (8, 150, 4608): [319, 944, 981, 1108, 1441, 1603, 1792, 1914, 1914],
    (9, 1, 0): [21, 27, 113, 196, 442, 447, 461, 465, 465],
    (9, 150, 4608): [319, 474, 798, 882, 1202, 1207, 1370, 1520, 1520],
    (10, 1, 0): [457, 994, 1388, 1395, 1487, 1838, 1871, 1914, 1914],
    (10, 150, 4608): [755, 1292, 1686, 1693, 1934, 2434, 2616, 2789, 2789],
}


@pytest.mark.parametrize(("seed", "latency", "base"), TIMES)
def test_transfers_are_done_when_the_engine_does_them(seed, latency, base):
    transfers = random_transfers(OUTSIDE, seed)
    clock = TransferClock(OUTSIDE, transfers, latency, base)
    clock.start(0)
    found = [clock.ready(number + 1) for number in range(len(transfers))]
    assert [*found, clock.finished()] == TIMES[seed, latency, base]


def test_a_list_may_be_empty_and_start_again():
    clock = TransferClock(OUTSIDE, [], 5, 0)
    for _ in range(2):
        clock.start(10)
        assert clock.finished() == 23


@pytest.mark.parametrize("seed", CYCLES)
def test_networks_take_the_cycles_that_the_machine_took(seed):
    image = compile_network(outside_network(seed), OUTSIDE)
    assert tuple(cycles(image.steps(latency)) for latency in LATENCIES) == CYCLES[seed]
