"""Networks that are larger than the chip: the same integers, however early or late lines are moved."""

from dataclasses import replace

import numpy as np
import pytest

from twofold.golden import image_folder
from twofold.golden import layers as golden_layers
from twofold.golden.config import load_config
from twofold.golden.isa import Section, Sync
from twofold.golden.machine import Machine, execute, infer
from twofold.golden.outside import transfer_list
from twofold.golden.parts import Part
from twofold.mapper.bands import RowRange, cut, part_rows
from twofold.mapper.checks import FitError
from twofold.mapper.compiler import compile_network
from twofold.mapper.hazards import NONE, Hazards
from twofold.testing.random_network import random_network

#: Seeds of random networks, and feature lines that hold a few rows of them only.
SEEDS = {1: 192, 2: 192, 7: 192, 9: 96, 14: 96, 19: 128, 20: 192, 23: 128, 88: 96}


def build(seed, **keys):
    """A small build with room for any network of this test, but for features."""
    small = load_config(("log_4x4", "subset_4x4", "log_8x8")[seed % 3])
    deep = {
        "memory": "axi4",
        "program_depth": 512,
        "acc_width": 40,
        "tables": 4,
        "max_side": 64,
        "weight_depth": 4096,
        "channel_depth": 64,
    }
    sets = {"point_sets": 16} if small.pe == "subset" else {}
    return replace(small, **(deep | sets | keys))


def on_chip(config):
    return replace(config, memory="on_chip", feature_depth=1 << 14, channel_depth=2048, program_depth=1 << 15)


def entries(image):
    """The transfer list of an image."""
    return transfer_list(image.config, np.frombuffer(image.outside.content, dtype=np.uint8))


def network(seed):
    return random_network(seed, on_chip(build(seed)), layers=4, max_side=16)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_same_integers_with_transfers_early_and_late(seed, tmp_path):
    """Two inferences each; what lies outside is read back from there."""
    drawn = network(seed)
    image = compile_network(drawn, build(seed, feature_depth=SEEDS[seed], bus_bits=(32, 64, 128)[seed % 3]))
    assert image.input.outside
    rng = np.random.default_rng(seed)
    inputs = rng.integers(drawn.input.low, drawn.input.high + 1, size=(2, *drawn.input.shape))
    expected = golden_layers.run(drawn, inputs)
    for eager in (False, True):
        machine = Machine(image.config, eager=eager)
        for n, x in enumerate(inputs):
            result = infer(machine, image, x) if n else execute(image, x, machine)
            for layer in drawn.layers:
                np.testing.assert_array_equal(result.tensors[layer.name], expected[layer.name][n], layer.name)
            for layer, output in zip(drawn.outputs, result.outputs, strict=True):
                np.testing.assert_array_equal(output, expected[layer.name][n], layer.name)
            assert result.run.cycles == image.cycles
            assert result.run.passes == image.passes
    image_folder.save(image, tmp_path / "image")
    assert image_folder.load(tmp_path / "image") == image


def test_some_networks_lie_outside_and_come_in_bands():
    images = [compile_network(network(seed), build(seed, feature_depth=SEEDS[seed])) for seed in (2, 20)]
    for image in images:
        assert [layer.output.outside for layer in image.layers].count(True) >= 3
        stores = [entry for entry in entries(image) if entry.store]
        assert len(stores) > 3 * 3
        assert len(image.program) > 100
        assert sum(isinstance(one, Sync) for one in image.instructions) > 10


def test_a_program_runs_round_its_memory():
    """Lines of the program come from outside, segment by segment, over those before."""
    image = compile_network(network(2), build(2, feature_depth=192, program_depth=128))
    programs = [entry for entry in entries(image) if entry.kind is Section.PROGRAM]
    assert [entry.line for entry in programs] == [n % 4 * 32 for n in range(len(programs))]
    assert len(image.program) > 3 * 128
    assert len(programs) == -(-len(image.program) // 32)
    assert [entry.after for entry in programs[:4]] == [0, 0, 0, 0]
    assert all(entry.after > 0 for entry in programs[4:])
    for n in range(len(programs) - 1):
        assert isinstance(image.instructions[n * 32 + 31], Sync)


def test_weights_come_once_where_they_fit_and_by_turns_where_not():
    drawn = network(19)
    roomy, tight = (compile_network(drawn, build(19, feature_depth=128, weight_depth=n)) for n in (4096, 96))
    lines = [sum(entry.length for entry in entries(image) if entry.kind is Section.WEIGHT) for image in (roomy, tight)]
    assert lines == [143, 595]


def test_what_does_not_fit_is_named():
    with pytest.raises(
        FitError, match=r"Layer 'layer\d\.\w+': feature_depth must be at least \d+ for two bands of rows"
    ):
        compile_network(network(2), build(2, feature_depth=16))
    with pytest.raises(FitError, match=r"Layer 'layer\d\.\w+': weight_depth must be at least \d+, not 16"):
        compile_network(network(2), build(2, feature_depth=192, weight_depth=16))
    with pytest.raises(FitError, match=r"Layer 'layer\d\.\w+': channel_depth must be at least \d+, not 4"):
        compile_network(network(2), build(2, feature_depth=192, channel_depth=4))
    with pytest.raises(FitError, match="program_depth must be larger: 16 lines hold no whole tile"):
        compile_network(network(2), build(2, feature_depth=192, program_depth=16))


def test_bands_and_rows_of_parts():
    assert cut(7, 3) == [RowRange(0, 3), RowRange(3, 5), RowRange(5, 7)]
    odd = Part((1, 0), (2, 1), (3, 4))  # rows 1, 3 and 5
    assert [part_rows(odd, band) for band in cut(7, 3)] == [RowRange(0, 1), RowRange(1, 2), RowRange(2, 3)]
    assert part_rows(odd, RowRange(4, 5)).height == 0


def test_who_waits_for_whom():
    lines = Hazards()
    assert lines.use(0, 10, 3) == NONE
    assert lines.free(5, 6) == 3
    assert lines.free(10, 20) == 0
    lines.move(4, 8, (3, 7))
    assert lines.use(0, 4, 4) == NONE
    assert lines.use(7, 9, 5) == (3, 7)
    assert lines.free(0, 4) == 4
    assert lines.free(8, 9, least=9) == 9
    assert lines.free(4, 7) == 3
