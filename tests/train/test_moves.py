"""Operations that move channels and positions, or combine tensors, written as users write them."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.train.agreement import RECIPE, agree, randomised
from twofold.train.convert import convert
from twofold.train.data import InputFormat

SHAPE = (3, 6, 6)


class Moves(nn.Module):
    """A function of an input and layers."""

    def __init__(self, function):
        super().__init__()
        self.function = function
        self.a, self.b, self.c = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 3, 3, padding=1), nn.Conv2d(3, 4, 1)
        self.wide, self.many, self.line = nn.Conv2d(8, 3, 1), nn.Conv2d(16, 3, 1), nn.Linear(4, 16)
        self.register_buffer("order", torch.tensor([2, 0, 3, 1]))

    def forward(self, x):
        return self.function(self, x)


def fours(x):
    """The four phases of a map."""
    return torch.cat([x[..., ::2, ::2], x[..., 1::2, ::2], x[..., ::2, 1::2], x[..., 1::2, 1::2]], 1)


#: What is computed, and the layers that come of it.
MOVED = {
    "pixel unshuffle": (lambda m, x: m.many(F.pixel_unshuffle(F.relu(m.a(x)), 2)), ["a", "pixel_unshuffle", "many"]),
    "phases": (lambda m, x: m.many(fours(m.a(x)).relu()), None),
    "flip and roll": (lambda m, x: m.b(m.a(x).flip(1).roll(1, 1)), ["a", "b"]),
    "orders": (lambda m, x: m.b(m.a(x)[:, m.order].index_select(1, m.order)), ["a", "b"]),
    "narrow and repeat": (lambda m, x: m.b(m.a(x).narrow(1, 1, 2).repeat(1, 2, 1, 1)), ["a", "b"]),
    "repeated channels": (lambda m, x: m.wide(m.a(x).repeat_interleave(2, 1)), ["a", "wide"]),
    "repeated positions": (
        lambda m, x: m.b(m.a(x).repeat_interleave(2, -1).repeat_interleave(2, 2)),
        ["a", "repeat_interleave", "repeat_interleave_1", "b"],
    ),
    "stack": (lambda m, x: m.wide(torch.stack([m.a(x), m.c(x)], 2).flatten(1, 2)), ["a", "c", "wide"]),
    "parts in another order": (lambda m, x: m.b(torch.cat(m.a(x).chunk(3, 1)[::-1], 1)), ["a", "b"]),
    "movedim": (lambda m, x: m.b(m.a(x).unflatten(1, (2, 2)).movedim(1, 2).flatten(1, -3)), ["a", "b"]),
    "crop": (lambda m, x: m.b(m.a(x)[:, :, 1:-1, 2:]), ["a", "getitem", "b"]),
    "a row": (lambda m, x: m.a(x)[:, :, -2], ["a", "getitem"]),
    "a position": (lambda m, x: m.line(m.a(x)[..., 1, -2]), ["a", "getitem", "line"]),
    "the only position": (lambda m, x: m.line(F.adaptive_avg_pool2d(m.a(x), 1)[..., 0, 0]), None),
    "crop before a sum": (lambda m, x: m.a(x)[..., 1:] + m.c(x)[..., :-1], ["a", "c", "add"]),
    "crop at the end": (lambda m, x: m.a(x)[:, 1:, 1::2], ["a", "getitem"]),
    "one channel added": (lambda m, x: m.b(m.a(x) - m.c(x)[:, 1:2]), None),
    "one position subtracted": (lambda m, x: m.b(m.a(x) - m.c(x).mean((2, 3), True)), None),
    "one channel added to": (lambda m, x: m.a(x)[:, 2:3] + F.max_pool2d(m.c(x), 1), None),
    "one number added to all": (lambda m, x: m.a(x) + m.c(x)[:, :1].mean((2, 3), True), None),
    "difference": (lambda m, x: m.b(m.a(x) - m.c(x)), ["a", "c", "b"]),
    "difference from the input": (lambda m, x: m.c(x - m.b(m.a(x))), ["a", "b", "c"]),
    "alpha": (lambda m, x: m.b(torch.add(m.a(x), m.c(x), alpha=2).sub_(x[:, [0] * 4], alpha=0.5)), None),
    "one position added": (
        lambda m, x: m.b(m.a(x) + m.c(x).mean((2, 3), keepdim=True)),
        ["c", "mean", "add", "a", "b"],
    ),
    "expand": (lambda m, x: m.b(m.a(x).mean((2, 3), True).expand(-1, -1, 4, 5)), ["a", "mean", "expand", "b"]),
    "largest": (lambda m, x: m.line(F.adaptive_max_pool2d(m.a(x), 3).amax((-1, -2))), None),
    "sum": (lambda m, x: m.line(m.a(x).sum((2, 3))), ["a", "sum_1", "line"]),
    "vectors as maps": (
        lambda m, x: m.b(m.line(m.a(x).mean((2, 3))[:, :, None, None].flatten(-3)).view(-1, 4, 2, 2)),
        ["a", "mean", "line", "view", "b"],
    ),
}


@pytest.mark.parametrize("name", MOVED)
def test_what_is_moved(name):
    """`convert` compares each layer, and the result, with the model's."""
    function, names = MOVED[name]
    layers = convert(randomised(Moves(function)), RECIPE, InputFormat(SHAPE, 8, True, 1 / 64)).quant_layers
    assert names is None or [layer.name for layer in layers] == names


def test_moves_give_the_same_integers_everywhere():
    def everything(m, x):
        first = F.pixel_unshuffle(m.a(x), 2)
        second = fours(m.c(x)).flip(1)
        maps = m.line(F.adaptive_max_pool2d(m.a(x), 1).flatten(1)).view(-1, 4, 2, 2)
        y = torch.sub(m.many(first), m.many(second), alpha=0.5)
        return y[..., 1:, :2], m.b(maps + m.c(y).sum((2, 3), keepdim=True))

    _, network, _, gap = agree(randomised(Moves(everything)), SHAPE, images=4)
    assert gap < 0.1 and len(network.outputs) == 2
