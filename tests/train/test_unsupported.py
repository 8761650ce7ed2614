"""What the machine has nothing for is refused with its place in the user's model."""

import re

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from twofold.train.convert import convert
from twofold.train.data import InputFormat
from twofold.train.graph import MODULES, OPERATIONS
from twofold.train.recipe import parse_recipe

RULE = {"match": "*", "weight": {"quantizer": "subset", "bits": 4}, "activation": {"bits": 8}}
RECIPE = parse_recipe({"name": "test", "method": "ptq", "layer": [RULE]})


def lower(model, shape=(3, 8, 8)):
    return convert(model, RECIPE, InputFormat(shape))


HOST = "; leave the end's order to the host: return what it takes"
WHOLE, APART = (
    f"; at the end it must {rule}"
    for rule in ("leave whole channels, each position once", "keep images apart, along dimension 0")
)


class Holder(nn.Module):
    def __init__(self, **modules):
        super().__init__()
        self.body = nn.Sequential()
        for name, module in modules.items():
            self.body.add_module(name, module)

    def forward(self, x):
        return self.body(x)


class Calls(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.conv, self.function = nn.Conv2d(3, 4, 1), function

    def forward(self, x):
        return self.function(self.conv(x))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            Holder(act=nn.GroupNorm(1, 3)),
            f"Layer 'body.act' must be one of {MODULES}, not 'GroupNorm' (torch.fx) nor 'group_norm' (torch.export)",
        ),
        (
            Holder(inner=Calls(torch.sin)),
            f"Operation in 'body.inner' must be one of {OPERATIONS}, not 'sin' (torch.fx) nor 'sin' (torch.export)",
        ),
        (
            Holder(conv=nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect")),
            "Layer 'body.conv': padding_mode must be 'zeros', not 'reflect'",
        ),
        (
            Holder(conv=nn.Conv2d(3, 4, 1), flat=nn.Flatten(), bn=nn.BatchNorm1d(256)),
            "Layer 'body.bn' must take channels, not a flattened map of shape (4, 8, 8)",
        ),
        (
            Calls(lambda x: F.pad(x, (1, 1), value=2.0)),
            "Operation in 'the model itself': pad must be with zeros, or minus infinity before a maximum, "
            "not 'constant' with 2.0",
        ),
        (
            Calls(lambda x: F.pad(x, (1, 1, 1, 1), "circular")),
            "Operation in 'the model itself': pad must be with zeros, or minus infinity before a maximum, "
            "not 'circular' with 0.0",
        ),
        (
            Calls(lambda x: F.pad(x, (0, 0, 0, 0, -1, 0))),
            "Operation in 'the model itself': pad must be around maps or add channels of zeros, "
            "not (0, 0, 0, 0, -1, 0)",
        ),
        (
            Calls(lambda x: F.relu(F.pad(x, (1, 1), value=-torch.inf))),
            "Operation in 'the model itself' must not take a tensor padded with -inf: only a maximum may",
        ),
        (
            Holder(linear=nn.Linear(8, 4)),
            "Layer 'body.linear' must take a flattened tensor, not one of shape (3, 8, 8)",
        ),
        (Calls(lambda x: x.mean(1)), "Operation in 'the model itself': mean must be over height and width, not over 1"),
        (
            Calls(lambda x: x[..., 1]),
            f"Operation in 'the model itself': slice must be of channels or of positions, not (Ellipsis, 1){WHOLE}",
        ),
        (
            Calls(lambda x: x[:, :, 8:]),
            "Operation in 'the model itself': slice must leave positions, not "
            f"(slice(None, None, None), slice(None, None, None), slice(8, None, None)){WHOLE}",
        ),
        (
            Calls(lambda x: x.flip(2)),
            "Operation in 'the model itself' must move channels only, not give (2, 4, 8, 8) of (2, 4, 8, 8)",
        ),
        (
            Calls(lambda x: torch.stack([x, x, x])),
            f"Operation in 'the model itself' must be along channels, dimension 1 or 2, not 0{HOST}",
        ),
        (
            Calls(lambda x: F.adaptive_max_pool2d(x, 3)),
            "Operation in 'the model itself': output size must divide (8, 8), not be (3, 3)",
        ),
        (
            Calls(lambda x: F.relu(x).amax(1)),
            "Operation in 'the model itself': maximum must be over height and width, not over 1",
        ),
        (
            Calls(lambda x: F.softmax(x, 1)),
            "Operation in 'the model itself' must be left to the host, which gets what it takes, not be 'softmax'",
        ),
        (
            Holder(act=nn.LogSoftmax(1)),
            "Layer 'body.act' must be left to the host, which gets what it takes, not be 'LogSoftmax'",
        ),
        (
            Calls(lambda x: (x, x.argmax(1))),
            "Operation in 'the model itself' must be left to the host, which gets what it takes, not be 'argmax'",
        ),
        (
            Holder(inner=Calls(lambda x: torch.cat([x, x], 2)), act=nn.MaxPool2d(2)),
            "Operation in 'body.inner' must be along channels, dimension 1, not 2",
        ),
        (
            Calls(lambda x: torch.cat([x, x])),
            "Operation in 'the model itself' must be along channels, dimension 1, not 0; at the end it must keep "
            "images apart, not put them together along dimension 0",
        ),
        (
            Calls(lambda x: torch.cat(x.chunk(2, -1), 1)),
            "Operation in 'the model itself': cat at the end must put whole channels together, each position once, "
            "not parts of one result",
        ),
        (
            Calls(lambda x: x.flatten(1)[:, :4]),
            f"Operation in 'the model itself' must take channels, not a flattened map of shape (4, 8, 8){WHOLE}",
        ),
        (
            Calls(lambda x: x.view(-1, 2, 2, 8, 8) + 1),
            "Operation in 'the model itself' must not take channels that lie along several axes, (2, 2, 8, 8)",
        ),
        (
            Calls(lambda x: x.permute(0, 2, 3, 1) + 1),
            "Operation in 'the model itself' must move axes of channels only, not (0, 2, 3, 1)",
        ),
        (
            Calls(lambda x: x[:1]),
            "Operation in 'the model itself': slice must be of channels or of positions, not "
            f"(slice(None, 1, None),){APART}",
        ),
        (Calls(lambda x: (torch.relu(x), 3)), "Model must return tensors, in tuples, lists or tables, not int"),
        (Calls(lambda x: {}), "Model must return tensors, in tuples, lists or tables, not {}"),
        (nn.Identity(), "Model must end with a layer, not with its input or a slice"),
    ],
)
def test_unsupported_models(model, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        lower(model)


def test_batch_size_written_into_the_model():
    with pytest.raises(
        ValueError, match=rf"^Operation in 'the model itself': view must be to \(batch, -1\), not to \(1, 512\){APART}$"
    ):
        lower(Calls(lambda x: x.view(1, -1)))


def test_batch_size_that_torch_export_writes_into_the_model():
    with pytest.raises(ValueError, match=r"^Model must take any number of inputs, not fail with 3: shape .+ invalid"):
        lower(Calls(lambda x: x.view(len(x), 4, 8, 8)))


def test_input_of_the_wrong_shape():
    with pytest.raises(ValueError, match=r"^Model must take inputs of shape \(2, 8, 8\), not fail with: "):
        lower(nn.Conv2d(3, 4, 1), (2, 8, 8))


def test_untraceable_model():
    class Branch(nn.Module):
        def forward(self, x):
            return x if x.sum() > 0 else -x

    message = (
        r"^Model must be traceable by torch\.fx or torch\.export, not fail with TraceError: symbolically traced "
        r"variables cannot be used as inputs to control flow and GuardOnDataDependentSymNode: Could not guard .*$"
    )
    with pytest.raises(ValueError, match=message) as caught:
        lower(Branch())
    assert "\n" not in str(caught.value)
