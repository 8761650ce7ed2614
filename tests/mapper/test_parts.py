"""Outputs in parts: golden by hand, PyTorch's integers and the machine's agree."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.mapper.small import branch, build, layer, network
from twofold.golden import container, layers
from twofold.golden.config import load_config
from twofold.golden.isa import Drain, Window
from twofold.golden.machine import execute
from twofold.golden.parts import Part
from twofold.mapper import compile_network
from twofold.testing.random_network import random_inputs, random_network
from twofold.train import integer


def upsampled(size=(2, 6), widths=(3, 3)):
    """Every input a row of two: the first times 4, the second times 1 and 10 more."""
    parts = [Part((0, x), (1, 2), (2, width)) for x, width in enumerate(widths)]
    eye = np.eye(4).reshape(1, 4, 4, 1, 1)
    branches = [branch(code * eye, channel=4 * n, padding=(0, 0, 0, widths[n] - 3)) for n, code in enumerate((3, 1))]
    one = layer("up", branches[:1], (4, 2, 3))
    return replace(
        one,
        branches=tuple(branches),
        output=replace(one.output, shape=(4, *size)),
        bias=np.repeat([0, 10], 4),
        multiplier=np.tile(one.multiplier, 2),
        right=np.tile(one.right, 2),
        parts=tuple(parts),
    )


@pytest.mark.parametrize(("widths", "wanted"), [((3, 3), [4, 11, 8, 12, 12, 13]), ((3, 2), [4, 11, 8, 12, 12])])
def test_phases_by_hand(tmp_path, widths, wanted):
    net = network([upsampled((2, sum(widths)), widths)], (4, 2, 3))
    x = np.tile(np.arange(1, 4), (4, 2, 1))
    container.save(net, tmp_path / "net")
    assert container.load(tmp_path / "net").layers[0].parts == net.layers[0].parts
    for found in (layers.run(net, x[None])["up"][0], integer.run(net, torch.as_tensor(x[None]))["up"][0].numpy()):
        assert found.tolist() == [[wanted] * 2] * 4
    image = compile_network(net, build())
    result = execute(image, x)
    assert result.output.tolist() == [[wanted] * 2] * 4 and result.run.cycles == image.cycles
    assert {one.out_step for one in image.instructions if isinstance(one, Window)} == {2}
    assert sum(isinstance(one, Drain) for one in image.instructions) == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"parts": (Part((0, 0), (1, 2), (2, 3)),) * 2}, "parts must hold each position once, not 0 to 2 times"),
        ({"parts": (upsampled().parts[0], Part((0, 1), (1, 2), (2, 4)))}, "part must end within (2, 6), not at (2, 8)"),
        ({"maximum": True}, "maximum must have one depthwise branch of one word and one code"),
        ({"branches": upsampled().branches[:1]}, "parts must have a branch each, not 1 of 2"),
        ({"branches": (replace(upsampled().branches[0], channel=2),) * 2}, "branch must be of one part, not of 0 to 1"),
    ],
)
def test_impossible_parts_are_refused(change, message):
    with pytest.raises(ValueError) as caught:
        replace(upsampled(), **change)
    assert str(caught.value) == f"Layer 'up': {message}"


def test_parts_have_accumulators_each():
    net = network([upsampled()], (4, 2, 3))
    with pytest.raises(ValueError, match=r"^Layer 'up': accumulators must be of a layer without parts, not 2$"):
        layers.accumulate(net, net.layers[0], {"input": np.zeros((1, 4, 2, 3), dtype=np.int64)})


def test_steps_that_the_machine_cannot_count_are_refused():
    with pytest.raises(ValueError, match=r"^Step of a part must be at most 15, not \(1, 16\)$"):
        Part((0, 0), (1, 16), (1, 1))


def test_random_networks_with_parts_agree_everywhere():
    config, seen = load_config("log_4x4"), 0
    for seed in range(40):
        net = random_network(seed, config, layers=3)
        if not any(one.parts for one in net.layers):
            continue
        seen += 1
        x, image = random_inputs(seed, net, 2), compile_network(net, config)
        ours, theirs = layers.run(net, x), integer.run(net, torch.as_tensor(x))
        result = execute(image, x[1])
        for name, tensor in ours.items():
            np.testing.assert_array_equal(theirs[name], tensor)
            np.testing.assert_array_equal(result.tensors[name], tensor[1])
        assert result.run.cycles == image.cycles
    assert seen > 3
