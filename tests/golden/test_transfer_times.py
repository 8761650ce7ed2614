"""When transfers are done, against what the hardware took: the bench of `transfers` and tests/sim measure the same."""

import pytest

from tests.support.outside import CYCLES, LATENCIES, OUTSIDE, outside_network
from twofold.golden.timing import cycles
from twofold.golden.transfer_clock import TransferClock
from twofold.mapper.compiler import compile_network
from twofold.testing.random_transfers import random_transfers

#: Of random lists, the cycle in which each transfer and then the list is done, by seed, latency and first beat.
TIMES = {
    (1, 1, 0): [134, 142, 154, 165, 180, 479, 535, 612, 612],
    (1, 32, 2560): [196, 235, 278, 320, 366, 696, 783, 891, 891],
    (1, 150, 4608): [432, 589, 750, 910, 1074, 1522, 1727, 1953, 1953],
    (2, 1, 0): [25, 410, 415, 423, 449, 456, 464, 476, 477],
    (2, 150, 4608): [323, 854, 859, 1016, 1191, 1332, 1489, 1650, 1651],
    (3, 1, 0): [23, 28, 42, 457, 726, 731, 740, 1403, 1404],
    (3, 32, 2560): [85, 120, 165, 611, 880, 885, 925, 1619, 1620],
    (4, 32, 2560): [185, 192, 240, 506, 1206, 1794, 1799, 1840, 1840],
    (4, 150, 4608): [421, 476, 642, 1026, 1844, 2550, 2555, 2714, 2714],
    (5, 1, 0): [22, 29, 666, 695, 704, 717, 1285, 1290, 1290],
    (6, 32, 2560): [100, 141, 436, 809, 813, 859, 1472, 1524, 1524],
    (6, 150, 4608): [336, 495, 908, 1281, 1285, 1449, 2180, 2350, 2350],
}


@pytest.mark.parametrize(("seed", "latency", "base"), TIMES)
def test_transfers_are_done_when_the_engine_does_them(seed, latency, base):
    transfers = random_transfers(OUTSIDE, seed)
    clock = TransferClock(OUTSIDE, transfers, latency, base)
    clock.start(0)
    found = [clock.ready(number + 1) for number in range(len(transfers))]
    assert [*found, clock.finished()] == TIMES[seed, latency, base]


def test_a_list_may_be_empty_and_start_again():
    clock = TransferClock(OUTSIDE, [], 5)
    for _ in range(2):
        clock.start(10)
        assert clock.finished() == 23


@pytest.mark.parametrize("seed", CYCLES)
def test_networks_take_the_cycles_that_the_machine_took(seed):
    image = compile_network(outside_network(seed), OUTSIDE)
    assert tuple(cycles(image.steps(latency)) for latency in LATENCIES) == CYCLES[seed]
