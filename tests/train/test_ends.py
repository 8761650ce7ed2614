"""Models that end in another order of positions: the host's to make, and made everywhere alike."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from tests.train.agreement import BUILD, RECIPE, agree, randomised
from twofold.exchange.referee import run_onnx
from twofold.exchange.write import onnx_model
from twofold.golden.layers import run
from twofold.golden.order import Order
from twofold.train.convert import convert
from twofold.train.data import InputFormat

SHAPE = (3, 4, 6)


class Ends(nn.Module):
    """A body, and what a function makes of it."""

    def __init__(self, function):
        super().__init__()
        self.function = function
        self.body, self.side, self.flat = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 4, 1), nn.Flatten(2)

    def forward(self, x):
        return self.function(self, torch.relu(self.body(x)))


def boxes(x, values):
    """As SSD's heads order their boxes."""
    x = x.view(x.size(0), -1, values, x.size(2), x.size(3)).permute(0, 3, 4, 1, 2)
    return x.reshape(x.shape[0], -1, values)


def heads(m, x):
    side = m.side(x)
    last = side.permute(0, 2, 3, 1)
    return {
        "last": last.contiguous().view((x.shape[0], -1, 6, 4)),
        "boxes": [boxes(x, 3), last.reshape(x.shape[0], -1, 2)],
        "lines": (m.flat(side).transpose(1, 2), side.movedim(1, -1).flatten(1)),
        "parts": last[..., 1:3],
        "one": side[:, 2],
        "five": x.view(-1, 2, 3, 4, 6),
        "grid": x.flatten(1).view(-1, 36, 4),
    }


def test_every_end_has_the_models_shape_and_order():
    model = randomised(Ends(heads))
    quantized, network, image, gap = agree(model, SHAPE)
    assert gap < 0.1
    x = torch.rand(5, *SHAPE)
    found, wanted = quantized(x), model(x)
    assert found.keys() == wanted.keys()
    for name in ("last", "parts", "one", "five", "grid"):
        assert found[name].shape == wanted[name].shape, name
    # One channel is a map of one channel.
    assert len(network.orders) == 8 and len(network.outputs) == 9
    assert [one.order for one in image.outputs] == [network.orders.get(layer.name) for layer in network.outputs]
    assert network.orders["side"] == Order((4, 24), (1, 0), (4, 6, 4))


def test_onnx_has_the_models_shape_and_order():
    network = agree(randomised(Ends(lambda m, x: (x, m.side(x).permute(0, 2, 3, 1)))), SHAPE)[1]
    x = np.random.default_rng(0).integers(-128, 128, (3, *SHAPE))
    plain, last = network.results(run(network, x))
    exact = run_onnx(onnx_model(network), x.astype(np.int8))
    assert np.array_equal(exact["body"], plain) and np.array_equal(exact["side/output"], last)
    qdq = run_onnx(onnx_model(network, style="qdq"), (x * network.input.scale).astype(np.float32))
    steps = np.rint(qdq["output_1"] / network.outputs[1].output.scale) - last
    assert qdq["output_1"].shape == (3, 4, 6, 4) and np.abs(steps).max() <= 1 and np.mean(steps != 0) < 0.01


def activated(m, x):
    """A tensor that is returned as it is and behind a function, and one that goes into a function alone."""
    last, side = x.permute(0, 2, 3, 1), m.side(x).view(x.shape[0], 2, 2, 4, 6).permute(0, 1, 3, 4, 2)
    return last, last[..., :2].sigmoid(), (side * side.sigmoid()).flatten(1)


def test_functions_come_before_the_moves():
    _, network, _, gap = agree(randomised(Ends(activated)), SHAPE, config=replace(BUILD, tables=4))
    assert gap < 0.1 and len(network.orders) == 3
    assert network.orders["side"].shape == (96,)
    assert [layer.name for layer in network.layers if layer.table is not None] == ["side", "sigmoid_2"]


def test_channels_last_and_back_is_nothing():
    _, network, _, _ = agree(randomised(Ends(lambda m, x: x.permute(0, 2, 3, 1).permute(0, 3, 1, 2))), SHAPE)
    assert [layer.name for layer in network.layers] == ["body"] and network.orders == {}


def joined(m, x):
    """As torchvision's detectors give their boxes: all maps' in one tensor."""
    y = torch.max_pool2d(m.side(x), 2)
    return {
        "boxes": torch.cat([boxes(x, 2), boxes(m.side(x), 2), boxes(y, 2)], dim=1).contiguous(),
        "twice": torch.cat((torch.concat([x.flatten(1), y.flatten(1)], 1), m.side(x).flatten(1)), -1),
        "rows": torch.concatenate([m.side(x), x[:, :4]], 2),
        "lines": torch.cat([m.flat(m.side(x)), y.flatten(2)], -1).transpose(1, 2).sigmoid(),
        "one": m.side(x).permute(0, 2, 3, 1),
    }


def test_results_of_several_maps_are_put_together():
    model = randomised(Ends(joined))
    quantized, network, image, gap = agree(model, SHAPE, config=replace(BUILD, tables=4))
    assert gap < 0.1 and len(network.outputs) == len(image.outputs) == 11
    assert sum(layer.table is not None for layer in network.outputs) == 2
    x = torch.rand(5, *SHAPE)
    found, wanted = quantized(x), model(x)
    assert {name: tensor.shape for name, tensor in found.items()} == {n: t.shape for n, t in wanted.items()}


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (
            lambda m, x: torch.cat([boxes(x, 3), boxes(x, 3)], 0),
            "Operation in 'the model itself': cat at the end must keep images apart, "
            "not put them together along dimension 0",
        ),
        (
            lambda m, x: torch.cat([torch.cat([boxes(x, 3), boxes(x, 3)], 1), torch.cat([boxes(x, 3)] * 2, 1)], 2),
            "Operation in 'the model itself': cat at the end must put results together along one dimension, "
            "not 1 and 2",
        ),
        (
            lambda m, x: torch.stack([boxes(x, 3), boxes(x, 3)], 1),
            "Operation in 'the model itself': stack behind moved positions must be left to the host: "
            "return what it takes",
        ),
        (
            lambda m, x: torch.cat([boxes(x, 3), torch.zeros(x.shape[0], 1, 3)], 1),
            "Operation in 'the model itself': cat at the end must put results together, not a constant",
        ),
        (
            lambda m, x: torch.cat([boxes(x, 3), boxes(x, 3)], 1)[:, :40],
            "Operation in 'the model itself' must come before results are put together, or be the host's, "
            "not be 'getitem'",
        ),
        (
            lambda m, x: torch.cat([boxes(x, 3), boxes(x, 3)], 1).transpose(0, 1),
            "Operation in 'the model itself' must move axes of channels only, not (0, 3, 4, 1, 2); "
            "at the end it must keep images apart, along dimension 0",
        ),
        (
            lambda m, x: torch.cat([boxes(x, 3), boxes(x, 3)], 1).softmax(-1),
            "Operation in 'the model itself' must be left to the host, which gets what it takes, not be 'softmax'",
        ),
        (
            lambda m, x: boxes(x, 3).softmax(-1),
            "Operation in 'the model itself' must be left to the host, which gets what it takes, not be 'softmax'",
        ),
        (
            lambda m, x: boxes(x, 3) + 1,
            "Operation in 'the model itself' must move axes of channels only, not (0, 3, 4, 1, 2)",
        ),
        (
            lambda m, x: x.permute(0, 2, 3, 1).reshape(-1, 3),
            "Operation in 'the model itself' must move axes of channels only, not (0, 2, 3, 1); "
            "at the end it must keep images apart, along dimension 0",
        ),
        (
            lambda m, x: x.permute(0, 2, 3, 1)[:, :2],
            "Operation in 'the model itself' must move axes of channels only, not (0, 2, 3, 1); "
            "at the end it must leave whole channels, each position once",
        ),
    ],
)
def test_other_ends_are_refused_by_path(function, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        convert(Ends(function), RECIPE, InputFormat(SHAPE))
