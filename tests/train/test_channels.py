"""Concatenations, parts, slices and shuffles of channels: the same integers everywhere, and no layer of their own."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.train.agreement import BUILD, RECIPE, agree, randomised
from twofold.golden import layers
from twofold.train.convert import convert
from twofold.train.data import InputFormat
from twofold.train.recipe import parse_recipe
from twofold.train.scale_layer import ScaleLayer


class Body(nn.Module):
    """A function of an input and layers."""

    def __init__(self, function, **layers):
        super().__init__()
        self.function = function
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, x):
        return self.function(self, x)


def conv(inputs, outputs, kernel=1, **options):
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, **options)


def dense_block(self, x):
    a = F.relu(self.a(x))
    b = F.relu(self.b(torch.cat([x, a], 1)))
    return self.c(torch.cat([x, a, b], 1))


def inception(self, x):
    x = F.relu(self.stem(x))
    parts = [F.relu(self.a(x)), F.relu(self.c(F.relu(self.b(x)))), F.relu(self.d(F.max_pool2d(x, 3, 1, 1)))]
    y = F.max_pool2d(torch.cat(parts, 1), 2)
    return self.e(torch.flatten(F.adaptive_avg_pool2d(y, 1), 1))


def shuffle(x, groups):
    batch, channels, height, width = x.size()
    x = x.view(batch, groups, channels // groups, height, width)
    return torch.transpose(x, 1, 2).contiguous().view(batch, -1, height, width)


def shuffle_net(self, x):
    x = F.relu(self.stem(x))
    x = shuffle(torch.cat([self.left(x), F.relu(self.down(F.relu(self.right(x))))], 1), 2)
    for unit in (self.first, self.second):
        kept, taken = x.chunk(2, dim=1)
        x = shuffle(torch.cat((kept, unit(taken)), dim=1), 2)
    return self.last(self.depth(x))


def unit(channels):
    return nn.Sequential(
        *(conv(channels, channels, bias=False), nn.BatchNorm2d(channels), nn.ReLU()),
        *(conv(channels, channels, 3, groups=channels, bias=False), nn.BatchNorm2d(channels)),
        *(conv(channels, channels, bias=False), nn.BatchNorm2d(channels), nn.ReLU()),
    )


def ghost(self, x):
    y = F.relu(self.a(x))
    y = torch.cat([y, F.relu(self.b(y))], dim=1)[:, :5, :, :]
    return F.relu(self.c(y)) + F.relu(self.d(y))


def u_net(self, x):
    a = F.relu(self.a(x))
    b = F.relu(self.b(a))
    return self.d(F.relu(self.c(torch.cat([b, a], 1))))


NETWORKS = {
    "DenseNet": Body(dense_block, a=conv(4, 6, 3), b=conv(10, 6, 3), c=conv(16, 5)),
    "Inception": Body(
        inception, stem=conv(3, 10), a=conv(10, 4), b=conv(10, 3), c=conv(3, 5, 3), d=conv(10, 3), e=nn.Linear(12, 4)
    ),
    "ShuffleNetV2": Body(
        shuffle_net,
        stem=conv(3, 6, 3),
        left=conv(6, 6, 3, stride=2, groups=6),
        right=conv(6, 6),
        down=conv(6, 6, 3, stride=2),
        first=unit(6),
        second=unit(6),
        depth=conv(12, 12, 3, groups=12),
        last=conv(12, 4),
    ),
    "GhostNet": Body(ghost, a=conv(3, 4), b=conv(4, 4, 3, groups=4), c=conv(5, 6), d=conv(5, 6, 3)),
    "U-Net": Body(u_net, a=conv(3, 6, 3), b=conv(6, 7, 3), c=conv(13, 6, 3), d=conv(6, 2)),
}
SHAPES = {"DenseNet": (4, 5, 6)}


SUBSET = replace(BUILD, name="subset", pe="subset", word_bits=4, point_sets=16)


def recipe(quantizer, activation="lsq", bits=4):
    rule = {
        "match": "*",
        "weight": {"quantizer": quantizer, "bits": bits},
        "activation": {"quantizer": activation, "bits": 8},
    }
    return parse_recipe({"name": quantizer, "method": "ptq", "layer": [rule]})


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_give_the_same_integers_everywhere(name):
    """Weights of 4 bits, activations of 8."""
    words = {"config": SUBSET, "recipe": recipe("subset")} if name == "GhostNet" else {"recipe": recipe("uniform")}
    model, network, _, _ = agree(randomised(NETWORKS[name]), SHAPES.get(name, (3, 6, 6)), **words)
    x = torch.randint(-128, 128, (16, *network.input.shape), generator=torch.Generator().manual_seed(1))
    ours = torch.as_tensor(layers.run(network, x.numpy())[network.output.name])
    with torch.no_grad():
        wanted = model(x / 64).reshape(ours.shape) / network.output.output.scale
    # Only biases are still rounded when a model is exported.
    assert (ours - wanted).abs().mean() < 1
    # Nothing is copied; GhostNet's addition is one of the network's own.
    assert sum(layer.kind == "add" for layer in network.layers) == (name == "GhostNet")


@pytest.mark.parametrize(("activation", "copied"), [("lsq", 0), ("po2", 0), ("pact", 1)])
def test_scales_that_cannot_be_tied_make_a_concatenation_a_layer(activation, copied):
    model, network, _, gap = agree(randomised(NETWORKS["U-Net"]), (3, 6, 6), recipe=recipe("uniform", activation, 8))
    # Scales are those of the least squared error, which is not the least largest one.
    assert gap < 0.2
    assert [layer.name for layer in network.layers if layer.kind == "add"] == ["c.concatenation"][:copied]
    if not copied:
        a, b = (network.tensors[name].scale for name in ("a", "b"))
        assert math.frexp(a / b)[0] == 0.5
    assert len(model.bases) == (activation == "lsq")


def halves(self, x):
    a, b = torch.split(F.relu(self.a(x)), [3, 5], dim=1)
    return self.b(a) + self.c(b)


def unbound(self, x):
    a, b = self.a(x).unflatten(1, (2, 4)).unbind(1)
    return self.b(torch.cat([b, a[:, 1::2], x], 1))


def straddling(self, x):
    """Two groups of 5 channels over tensors of 4 and 6, one of them shuffled."""
    return self.c(torch.cat([self.a(x), self.shuffle(self.b(x))], 1))


def shared(self, x):
    """A concatenation of what others read too: its ReLU is a layer."""
    a, b = self.a(x), self.b(x)
    return self.d(F.relu(torch.cat([a, b], 1))) + self.c(b)


def sums(self, x):
    """Additions of concatenations."""
    a, b = F.relu(self.a(x)), F.relu(self.b(x))
    return self.c(torch.cat([a, b], 1) + torch.cat((b[:, :4], a, b[:, 4:]), 1))


def averages(self, x):
    a, b = F.relu(self.a(x)), self.b(x)
    y = F.avg_pool2d(torch.cat([b, a], 1), 3, 1, 1)
    return self.c(torch.cat([y[:, ::2], a], 1))


def vectors(self, x):
    a, b = torch.flatten(self.a(x), 1), torch.flatten(self.b(x), 1)
    return self.e(F.relu(torch.cat([b, a], 1)))


def padded(self, x):
    """Positions left out, and zeros added, before a concatenation and after it."""
    y = torch.cat([self.a(x)[:, :, ::2, ::2], F.pad(self.b(x[:, :, ::2, ::2]), (0, 0, 0, 0, 1, 0))], 1)
    return self.c(F.pad(y, (1, 1, 0, 1)))


def twice(self, x):
    a = F.relu(self.a(x))
    return self.b(torch.cat([a, a[:, [2, 0]], a], 1))


def normed(self, x):
    """A batch norm behind a concatenation of what nothing else takes."""
    return self.c(F.relu(self.norm(torch.cat([self.a(x), self.b(x)], 1))))


def dense_norms(self, x):
    """Batch norms before convolutions, of tensors that others take, too."""
    a = self.a(F.relu(self.first(x)))
    b = self.b(F.relu(self.second(torch.cat([x, a], 1))))
    return self.c(F.relu6(self.third(torch.cat([x, a, b], 1)[:, 1::2])))


COMPOSED = {
    "batch norm of a concatenation": Body(normed, a=conv(3, 4), b=conv(3, 5), norm=nn.BatchNorm2d(9), c=conv(9, 4)),
    "batch norms first": Body(
        dense_norms,
        a=conv(3, 4),
        b=conv(7, 4, 3),
        c=conv(5, 4),
        first=nn.BatchNorm2d(3),
        second=nn.BatchNorm2d(7),
        third=nn.BatchNorm2d(5),
    ),
    "halves": Body(halves, a=conv(3, 8), b=conv(3, 4), c=conv(5, 4, 3)),
    "unbound": Body(unbound, a=conv(3, 8), b=conv(9, 4)),
    "straddling": Body(
        straddling, a=conv(3, 4), b=conv(3, 6), shuffle=nn.ChannelShuffle(3), c=conv(10, 6, 3, groups=2)
    ),
    "shared": Body(shared, a=conv(3, 4), b=conv(3, 5), c=conv(5, 4), d=conv(9, 4)),
    "sums": Body(sums, a=conv(3, 4), b=conv(3, 5), c=conv(9, 4)),
    "averages": Body(averages, a=conv(3, 4), b=conv(3, 5), c=conv(9, 4)),
    "vectors": Body(vectors, a=conv(3, 4), b=conv(3, 5), e=nn.Linear(9 * 36, 4)),
    "padded": Body(padded, a=conv(3, 4), b=conv(3, 4), c=conv(9, 4, 3)),
    "twice": Body(twice, a=conv(3, 4), b=conv(10, 4)),
    "concatenation at the end": Body(
        lambda self, x: torch.cat([self.a(x), F.relu(self.b(x))], 1), a=conv(3, 4), b=conv(3, 5)
    ),
    "slice at the end": Body(lambda self, x: self.a(x)[:, 1:3], a=conv(3, 4)),
}


@pytest.mark.parametrize("name", COMPOSED)
def test_compositions_give_the_same_integers_everywhere(name):
    _, _, _, gap = agree(randomised(COMPOSED[name]), (3, 6, 6))
    assert gap < 0.15


@pytest.mark.parametrize("training", [False, True])
def test_a_batch_norm_is_folded_or_kept_where_nothing_else_takes_what_it_takes(training):
    qat = replace(RECIPE, method="qat", train=replace(RECIPE.train, batch_norm="keep"))
    kinds = {}
    for name in ("batch norm of a concatenation", "batch norms first"):
        form = InputFormat((3, 6, 6), 8, True, 1 / 64)
        quantized = convert(randomised(COMPOSED[name]), qat, form, training=training)
        kinds[name] = [isinstance(layer, ScaleLayer) for layer in quantized.quant_layers]
        assert sum(layer.norm is not None for layer in quantized.conv_layers) == 2 * (training and "of" in name)
    assert kinds == {"batch norm of a concatenation": [False] * 3, "batch norms first": [True, False] * 3}


def test_gains_of_a_batch_norm_may_be_negative_or_zero():
    model = randomised(nn.Sequential(nn.BatchNorm2d(4), conv(4, 4)))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([-1.0, 0.0, 0.5, -0.01]))
        model[0].bias.copy_(torch.tensor([0.5, -0.3, 0.0, 0.1]))
    _, network, _, gap = agree(model, (4, 5, 5))
    assert gap < 0.1
    assert [layer.kind for layer in network.layers] == ["add", "conv2d"]


def curved(self, x):
    """Functions by table of a concatenation of what nothing else takes, and of one that is a copy; and of a norm."""
    a = F.silu(torch.cat([self.a(x), self.b(x)], 1))
    c = self.c(a)
    return self.d(torch.cat([F.leaky_relu(torch.cat([c, x], 1), 0.25), F.hardswish(self.norm(c))], 1))


def test_functions_by_table_take_concatenations():
    model = Body(curved, a=conv(3, 4), b=conv(3, 5), c=conv(9, 4), norm=nn.BatchNorm2d(4), d=conv(11, 4))
    _, network, _, gap = agree(randomised(model), (3, 6, 6), config=replace(BUILD, tables=5))
    assert gap < 0.25
    assert [layer.table is not None for layer in network.layers] == [True, True, False, True, True, False]
