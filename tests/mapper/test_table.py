"""Tables on the machine: kept once, named by DRAIN, and what a build without them says."""

import re
from dataclasses import replace

import numpy as np
import pytest

from tests.mapper.small import branch, build, layer, network
from twofold.golden import image_folder, layers
from twofold.golden.isa import Drain
from twofold.golden.machine import execute
from twofold.golden.network import Tensor
from twofold.golden.table import PointwiseTable
from twofold.mapper import FitError, compile_network
from twofold.mapper.bounds import source_range
from twofold.mapper.fit import memory_bits, try_build

SIGNED = PointwiseTable(8, True, 1.0, np.arange(-128, 128) // 3)
UNSIGNED = PointwiseTable(5, False, 1.0, 31 - np.arange(32))


def tabled(*tables):
    """A chain of 1x1 convolutions over a map of several chunks, one for each table."""
    ones, found = np.ones((1, 4, 4, 1, 1)), []
    for n, table in enumerate(tables):
        bounds = {} if table is None else {"low": table.low, "high": table.high, "table": table}
        source = f"conv{n - 1}" if n else "input"
        values = {"right": np.full(4, 2), "bias": np.full(4, -40 * n), "output": Tensor((4, 5, 9), 8, True, 1.0)}
        found.append(layer(f"conv{n}", [branch(ones, source)], (4, 5, 9), **values | {"high": 127} | bounds))
    return network(found, (4, 5, 9))


def test_equal_tables_are_kept_once_and_give_goldens_integers(tmp_path):
    net = tabled(SIGNED, UNSIGNED, None, replace(SIGNED, scale=2.0))
    config = build(acc_depth=16, tables=2)
    image = compile_network(net, config)
    assert image.tables == SIGNED.words(8, 8) + UNSIGNED.words(8, 8)
    drains = [one for one in image.instructions if isinstance(one, Drain)]
    assert list(dict.fromkeys((one.tabled, one.table) for one in drains)) == [(1, 0), (1, 1), (0, 0)]
    assert (drains[-1].tabled, drains[-1].table) == (1, 0)
    x = np.random.default_rng(0).integers(0, 256, (1, *net.input.shape))
    found, wanted = execute(image, x[0]), layers.run(net, x)
    for name, tensor in wanted.items():
        np.testing.assert_array_equal(found.tensors[name], tensor[0])
    assert found.run.cycles == image.cycles
    image_folder.save(image, tmp_path / "image")
    assert image_folder.load(tmp_path / "image") == image


def test_what_a_tensor_holds_is_what_entries_can_be():
    net = tabled(SIGNED, None)
    assert source_range(net, "conv0") == (-43, 42)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "Layer 'conv1': tables must be at least 2, not 0"),
        ({"tables": 1}, "Layer 'conv1': tables must be at least 2, not 1"),
        ({"tables": 2, "table_bits": 7}, "Layer 'conv2': table_bits must be at least 8, not 7"),
    ],
)
def test_a_build_without_room_names_the_key(changes, message):
    with pytest.raises(FitError, match=f"^{re.escape(message)}$"):
        compile_network(tabled(None, UNSIGNED, SIGNED), build(**changes))


def test_the_smallest_build_has_the_tables_that_there_are():
    found = try_build(tabled(SIGNED, UNSIGNED), build())
    assert found.reason == "Layer 'conv0': tables must be at least 2, not 0"
    assert (found.smallest.tables, found.smallest.table_bits) == (2, 8)
    more = replace(found.smallest, tables=3, requant_units=2)
    assert memory_bits(more) - memory_bits(replace(more, tables=0)) > 2 * 3 * 256 * 8
    assert try_build(tabled(None), build(tables=3)).smallest.tables == 0
