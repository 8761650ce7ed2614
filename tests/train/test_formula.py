"""Functions of one number that are written as several operations: one table."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.train.agreement import BUILD, RECIPE, agree, randomised
from twofold.train.convert import convert
from twofold.train.data import InputFormat
from twofold.train.formula import Formula

FORM = InputFormat((2, 3, 4), 8, True, 1 / 64)


class Written(nn.Module):
    """A function between two convolutions, of what the first one gives."""

    def __init__(self, function):
        super().__init__()
        self.function = function
        self.a, self.b = nn.Conv2d(2, 3, 1), nn.Conv2d(3, 2, 1)
        self.act, self.clip, self.beta = nn.Sigmoid(), nn.ReLU6(inplace=True), nn.Parameter(torch.tensor(1.702))

    def forward(self, x):
        return self.b(self.function(self, self.a(x)))


def gelu(self, x):
    return 0.5 * x * (1 + torch.tanh(0.7978845608 * (x + 0.044715 * x**3)))


#: How it is written, and what it is.
WRITTEN = {
    "sigmoid": (lambda self, x: x * torch.sigmoid(x), F.silu),
    "method in place": (lambda self, x: x.mul_(x.sigmoid()), F.silu),
    "layer": (lambda self, x: self.act(x) * x, F.silu),
    "trained": (lambda self, x: x * self.act(self.beta * x), lambda x: x * torch.sigmoid(1.702 * x)),
    "hard sigmoid": (lambda self, x: x * F.hardsigmoid(x), F.hardswish),
    "relu6": (lambda self, x: x * F.relu6(x + 3) / 6, F.hardswish),
    "relu6 in place": (lambda self, x: x * (self.clip(x + 3.0) / 6.0), F.hardswish),
    "clamp": (lambda self, x: torch.clamp(x + 3, 0, 6).div(6).mul(x), F.hardswish),
    "gelu": (gelu, lambda x: F.gelu(x, approximate="tanh")),
    "mish": (lambda self, x: x * torch.tanh(F.softplus(x)), F.mish),
    "extremes": (lambda self, x: torch.max(x, 0.1 * x), lambda x: F.leaky_relu(x, 0.1)),
    "bounds": (lambda self, x: torch.minimum(torch.maximum(x, torch.tensor(-1.0)), self.beta), None),
    "square": (lambda self, x: F.relu(x).square(), lambda x: F.relu(x) ** 2),
    "quotient": (lambda self, x: x / (1 + x.abs()), F.softsign),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_operations_of_one_tensor_are_one_function(name):
    written, wanted = WRITTEN[name]
    model = randomised(Written(written))
    first, last = convert(model, RECIPE, FORM).quant_layers
    assert (first.name, last.name) == ("a", "b")
    assert isinstance(first.function, Formula)
    x = torch.linspace(-8, 8, 101)
    wanted = wanted or (lambda x: x.clamp(-1, 1.702))
    with torch.no_grad():
        torch.testing.assert_close(first.function(x), wanted(x), rtol=1e-5, atol=1e-5)


def test_formulas_give_the_same_integers_everywhere():
    """One whose argument others take, too; it can be trained."""

    def both(self, x):
        x = F.relu(x)
        return torch.cat([x * torch.sigmoid(x) + x, x], 1)

    model = Written(both)
    model.b = nn.Conv2d(6, 2, 1)
    model = randomised(model)
    quantized, network, _, gap = agree(model, FORM.shape, config=replace(BUILD, tables=1), images=4)
    assert gap < 0.1
    assert [layer.table is not None for layer in network.layers] == [False, True, False]
    quantized.train()
    quantized(torch.rand(2, *FORM.shape)).sum().backward()
    assert quantized.conv_layers[0].float_weight.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("function", "other"),
    [
        (lambda self, x: x * torch.sigmoid(self.b(x).mean()), "sigmoid"),
        (lambda self, x: x * x.mean((2, 3), keepdim=True), "mean"),
        (lambda self, x: x * torch.sigmoid(x * self.b.weight[0]), "sigmoid"),
    ],
)
def test_products_of_other_tensors_are_refused(function, other):
    message = (
        rf"^Operation in 'the model itself'( must multiply by a constant, not by another tensor \({other}\)|: mean)"
    )
    with pytest.raises(ValueError, match=message):
        convert(randomised(Written(function)), RECIPE, FORM)
