"""Narrow reads: which bits of an activation are read, by hand, in every model, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.golden import naive
from tests.mapper.small import branch, layer, network
from twofold.golden import container
from twofold.golden.config import load_config
from twofold.golden.isa import Pass, Window
from twofold.golden.layers import run
from twofold.golden.machine import Machine, execute
from twofold.golden.narrow import Narrow
from twofold.golden.network import INPUT
from twofold.mapper.checks import FitError
from twofold.mapper.compiler import compile_network
from twofold.testing.random_network import random_inputs, random_network
from twofold.train import integer

BUILD = replace(load_config("log_4x4"), narrow_reads=True)


@pytest.mark.parametrize(
    ("narrow", "given", "read"),
    [
        # 8 bits, 3 read, 5 dropped: steps of 32, the largest of them 7 * 32.
        (Narrow(5, 3, False), (0, 1, 31, 32, 63, 224, 255), (0, 0, 0, 32, 32, 224, 224)),
        # 4 dropped: the top bit is clipped to 7 * 16.
        (Narrow(4, 3, False), (15, 16, 111, 112, 127, 128, 255), (0, 16, 96, 112, 112, 112, 112)),
        (Narrow(0, 2, False), (0, 2, 3, 4, 255), (0, 2, 3, 3, 3)),
        # Signed, floor: -1 is the step below 0.
        (
            Narrow(5, 3, True),
            (-128, -97, -96, -33, -32, -1, 0, 31, 127),
            (-128, -128, -96, -64, -32, -32, 0, 0, 96),
        ),
        (Narrow(3, 3, True), (-128, -33, -32, -25, -1, 7, 8, 24, 127), (-32, -32, -32, -32, -8, 0, 8, 24, 24)),
        (Narrow(0, 8, True), (-128, -1, 127), (-128, -1, 127)),
    ],
)
def test_bits_that_are_read(narrow, given, read):
    assert tuple(narrow.of(np.array(given))) == read
    assert tuple(narrow.of(np.array(given, dtype=np.float32))) == read
    for x, wanted in zip(given, read, strict=True):
        assert naive.bits_read(replace(ONE, narrow=narrow), x) == wanted


ONE = branch(np.full((1, 1, 1, 1, 1), 1))


def test_adding_half_of_a_step_makes_floor_round():
    for drop in range(6):
        narrow = Narrow(drop, 8 - drop, False)
        x = np.arange(256 - narrow.half)
        nearest = np.floor(x / 2**drop + 0.5) * 2**drop
        assert np.array_equal(narrow.of(x + narrow.half), nearest)


def operand(config, x, signed, drop, clip):
    """What a pass makes of an activation, less what a signed operand is raised by."""
    machine = Machine(config)
    machine.memories.feature[0] = x
    machine._window = Window.zero(width=1, height=1, in_width=1, in_height=1, step_x=1, step_y=1)
    tile = Pass.zero(signed=int(signed), drop=drop, clip=clip, row_mask=1)
    return int(machine._activations(0, tile, 0)[0][0, 0]) - (config.operand_offset if signed else 0)


@pytest.mark.parametrize("signed", [False, True])
def test_machine_reads_every_number_as_the_definition_says(signed):
    for drop in range(7):
        for clip in range(7 - drop):
            narrow = Narrow(drop, 8 - drop - clip, signed)
            for x in range(256):
                value = x - 256 if signed and x > 127 else x
                assert operand(BUILD, x, signed, drop, clip) == int(narrow.of(np.array(value))), (x, drop, clip)


def test_all_models_agree_on_random_networks():
    narrow = 0
    for seed, name in enumerate(("log_4x4", "subset_4x4") * 3):
        config = replace(load_config(name), narrow_reads=True)
        one = random_network(seed, config, layers=3, max_side=5)
        x = random_inputs(seed, one, 2)
        found, image = run(one, x), compile_network(one, config)
        in_torch, runs = integer.run(one, torch.tensor(x)), [execute(image, each) for each in x]
        sources = {INPUT: x[0].tolist()} | {name: found[name][0].tolist() for name in found}
        for each in one.layers:
            narrow += sum(part.narrow is not None for part in each.branches)
            assert np.array_equal(in_torch[each.name].numpy(), found[each.name])
            assert naive.output(one, each, sources) == sources[each.name]
            for done, wanted in zip(runs, found[each.name], strict=True):
                assert np.array_equal(done.tensors[each.name], wanted)
    assert narrow > 9


def net(narrow, **changes):
    one = replace(ONE, narrow=narrow)
    return network([layer("only", [one], (1, 1, 1), **changes)], (1, 1, 1), bits=8, signed=False)


def test_a_file_keeps_what_is_read(tmp_path):
    container.save(net(Narrow(4, 3, False)), tmp_path / "net")
    (one,) = container.load(tmp_path / "net").layers[0].branches
    assert one.narrow == Narrow(4, 3, False)
    container.save(net(None), tmp_path / "all")
    assert container.load(tmp_path / "all").layers[0].branches[0].narrow is None


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Narrow(-1, 3, False), "Narrow read must drop 0 or more bits and have 2 or more, not -1 and 3"),
        (lambda: Narrow(0, 1, False), "Narrow read must drop 0 or more bits and have 2 or more, not 0 and 1"),
        (
            lambda: net(Narrow(4, 5, False)),
            "Layer 'only': narrow read must be of a tensor of its sign and of 9 ",
        ),
        (lambda: net(Narrow(4, 3, True)), "Layer 'only': narrow read must be of a tensor of its sign and of 7 "),
        (
            lambda: net(Narrow(4, 3, False), kind="maxpool", maximum=True),
            "Layer 'only': narrow read must be of a sum, not of a maximum",
        ),
    ],
)
def test_impossible_reads_are_refused(make, message):
    with pytest.raises(ValueError) as error:
        make()
    assert str(error.value).startswith(message)


def test_a_build_without_them_is_refused_by_name():
    with pytest.raises(FitError) as error:
        compile_network(net(Narrow(4, 3, False)), load_config("log_4x4"))
    assert str(error.value) == "Layer 'only': narrow_reads must be true to read 3 bits of more, not false"
    assert Pass.record(BUILD).widths["drop"] == Pass.record(BUILD).widths["clip"] == 3
    assert Pass.record(load_config("log_4x4")).widths["drop"] == 0
    assert BUILD.build_hash != load_config("log_4x4").build_hash
