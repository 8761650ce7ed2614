"""Networks of several outputs: each a frame, in the order in which the model returns them."""

from copy import deepcopy

import torch
from torch import nn

from tests.train.agreement import agree, randomised


class Heads(nn.Module):
    """A body and two heads, one of which goes on from the other."""

    def __init__(self, collect):
        super().__init__()
        self.collect = collect
        self.body, self.near, self.far = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 5, 1), nn.Conv2d(5, 4, 3, stride=2)

    def forward(self, x):
        body = torch.relu(self.body(x))
        near = self.near(body)
        return self.collect(body, near, self.far(torch.relu(near)).flatten(1))


def test_heads_come_in_the_order_in_which_they_are_returned():
    model = randomised(Heads(lambda body, near, far: {"far": far, "near": near}))
    quantized, network, image, gap = agree(model, (3, 7, 6))
    assert network.heads == ("far", "near") and [one.tensor.shape for one in image.outputs] == [(4, 3, 2), (5, 7, 6)]
    assert gap < 0.1
    found = quantized(torch.zeros(2, 3, 7, 6))
    assert {name: tuple(y.shape) for name, y in found.items()} == {"far": (2, 24), "near": (2, 5, 7, 6)}


def test_a_tensor_that_is_read_on_and_returned_twice():
    model = randomised(Heads(lambda body, near, far: [body, (far, body)]))
    quantized, network, _, gap = agree(model, (3, 7, 6))
    assert len(network.heads) == 3 and network.heads[1] == "far" and len({*network.heads}) == 3
    assert gap < 0.1
    first, (_, again) = quantized(torch.rand(2, 3, 7, 6))
    assert torch.equal(first, again)


def test_one_output_in_a_tuple_is_the_last_layer():
    quantized, network, _, _ = agree(randomised(Heads(lambda body, near, far: (near,))), (3, 7, 6))
    assert network.heads == () and network.output.name == "near" and [one.name for one in network.layers][-1] == "near"
    # A copy, as users make it of a model, returns the same, and PyTorch has nothing to warn of.
    (near,) = deepcopy(quantized)(torch.zeros(1, 3, 7, 6))
    assert near.shape == (1, 5, 7, 6)
