"""The 156 point sets published for ResNet-50 run bit-exactly: every code of each, on the model and on the hardware.

Source: the code of [SubsetQ], QPS_data/resnet50 (MIT). The data is not part of the project: `TWOFOLD_DATA` names its
folder.
"""

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.sim.builds import DEEP
from twofold.golden import catalog, layers
from twofold.golden.config import load_config
from twofold.golden.formats import PointSet
from twofold.golden.machine import Machine, infer
from twofold.golden.network import INPUT, Branch, Layer, Network, Tensor
from twofold.mapper.compiler import compile_network
from twofold.sim.fast import run_images
from twofold.testing.random_network import random_inputs

FILE = Path(os.environ.get("TWOFOLD_DATA", "../shared/data")) / "subset_points_resnet50" / "points.json"
LANES = 4
#: Input n is 1 at position n of channel n and 0 elsewhere, so that output position n is column n of the weights.
ONE_HOT = np.eye(LANES, dtype=np.int64).reshape(1, LANES, 2, 2)


@pytest.fixture(scope="module")
def published():
    if not FILE.is_file():
        pytest.skip(f"published point sets must be at {FILE} (TWOFOLD_DATA names the data folder), and are not")
    return json.loads(FILE.read_text())


def scalings(record):
    """The levels of a published set, at each scaling at which it is a subset of the universal set."""
    top = record["points"][-1]
    for largest in record["largest"]:
        assert all(point * largest % top == 0 for point in record["points"])
        yield tuple(point * largest // top for point in record["points"])


def network_of(sets):
    """One 4x4 convolution a point set, whose 16 weights are all its codes in order, over and over."""
    one = np.ones(LANES, dtype=np.int64)
    output = Tensor((LANES, 2, 2), 8, True, 1.0)
    built = []
    for name, points in sets.items():
        codes = np.resize(np.arange(2 * points.fmt.point_count, dtype=np.uint8), (1, LANES, LANES, 1, 1))
        branch = Branch(INPUT, name, codes, (0,))
        built.append(Layer(name, "conv2d", (branch,), output, 0 * one, one, 0 * one, output.low, output.high))
    return Network("published", Tensor((LANES, 2, 2), 8, True, 1.0), tuple(built), sets)


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_every_code_of_every_published_set(published, bits):
    records = published[f"w{bits}"]
    assert [record["layer"] for record in records] == list(range(52))
    fmt = catalog.subset_format(bits)
    sets = {}
    for record in records:
        for levels in scalings(record):
            sets["set_" + "_".join(map(str, levels))] = PointSet(fmt, levels)
    config = DEEP
    if bits != DEEP.word_bits:
        name, count = f"subset{bits}_4x4", len(sets) + 1
        config = replace(load_config("configs/subset_4x4.toml"), name=name, word_bits=bits, point_sets=count)
    network = network_of(sets)
    inputs = np.concatenate([ONE_HOT, -ONE_HOT, random_inputs(bits, network, 2)])
    expected = layers.run(network, inputs)
    for name, points in sets.items():
        signed = [*points.levels, *(-level for level in points.levels)]
        weights = np.resize(np.array(signed), (LANES, LANES))
        assert (expected[name][0].reshape(LANES, LANES) == weights).all(), name
    image = compile_network(network, config)
    machine = Machine(config)
    machine.write(image.beats)
    for n, x in enumerate(inputs):
        for name, tensor in infer(machine, image, x).tensors.items():
            np.testing.assert_array_equal(tensor, expected[name][n], f"model, {name}")
    hardware = run_images(image, inputs, every_layer=True, workers=1)
    assert list(hardware.layers) == list(sets)
    for name, tensor in hardware.layers.items():
        np.testing.assert_array_equal(tensor, expected[name], f"hardware, {name}")
    assert (hardware.cycles == image.cycles).all()


def test_there_are_as_many_as_published(published):
    assert sum(len(records) for records in published.values()) == 156
    distinct = {bits: len({tuple(r["points"]) for r in published[f"w{bits}"]}) for bits in (2, 3, 4)}
    assert distinct == {2: 13, 3: 15, 4: 17}
    assert sum(0 in record["points"] for record in published["w4"]) == 18
