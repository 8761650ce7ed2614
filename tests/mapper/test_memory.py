from dataclasses import replace

import numpy as np

from tests.mapper.small import branch, build, layer, network
from twofold.golden.network import INPUT
from twofold.mapper.memory import allocate, feature_lines, lifetimes, tensor_lines

EYE = [[[[[1]] if n == m else [[0]] for m in range(4)] for n in range(4)]]


def chain(*sources):
    """Layers of one 4x4x4 tensor each, named by their number, with these sources."""
    layers = [
        layer(f"l{n}", [branch(EYE, source=source) for source in names], (4, 4, 4)) for n, names in enumerate(sources)
    ]
    return network(layers)


def test_lines_of_ragged_tensors():
    assert tensor_lines(build(), (5, 3, 2)) == 12


def test_a_tensor_lives_until_it_is_read_last():
    net = chain([INPUT], ["l0"], ["l1", INPUT], ["l1"])
    assert lifetimes(net) == {INPUT: (0, 2), "l0": (0, 1), "l1": (1, 3), "l2": (2, 2), "l3": (3, 4)}


def test_a_chain_takes_two_tensors():
    net = chain([INPUT], ["l0"], ["l1"], ["l2"])
    places = allocate(build(), net)
    assert feature_lines(build(), net, places) == 32
    assert [places[name] for name in (INPUT, "l0", "l1", "l2", "l3")] == [0, 16, 0, 16, 0]


def test_a_residual_keeps_its_source():
    net = chain([INPUT], ["l0"], ["l1"], ["l2", "l0"])
    places = allocate(build(), net)
    assert feature_lines(build(), net, places) == 48
    lives = lifetimes(net)
    for one in lives:
        for other in lives:
            if one != other and lives[one][0] <= lives[other][1] and lives[other][0] <= lives[one][1]:
                assert abs(places[one] - places[other]) >= 16


def test_the_largest_tensors_take_the_lowest_addresses():
    small = layer("a", [branch([[[[[1]]] * 4]])], (1, 4, 4))
    large = layer("b", [branch(np.ones((1, 12, 1, 1, 1)), source="a")], (12, 4, 4))
    net = network([small, large])
    # 48, 16 and 16 lines; the input is dead when `b` is written, `a` is not.
    assert allocate(build(), net) == {"b": 0, INPUT: 0, "a": 48}


def test_every_output_lives_until_the_end():
    net = replace(chain([INPUT], ["l0"], ["l1"], ["l2"]), heads=("l1", "l3"))
    assert lifetimes(net)["l1"] == (1, 4) and lifetimes(net)["l3"] == (3, 4)
    assert len({allocate(build(), net)[name] for name in ("l1", "l2", "l3")}) == 3
