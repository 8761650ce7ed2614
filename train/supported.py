"""What `convert` knows, for docs/training.md: `python -m twofold.train.supported` prints the tables.

What becomes of a layer is seen by lowering an example of it between two convolutions.
"""

from collections.abc import Mapping
from math import prod
from typing import Any

import torch
from torch import nn

from twofold.golden.phases import axis_phases
from twofold.train.add_layer import AddLayer
from twofold.train.data import InputFormat
from twofold.train.formula import NAMES
from twofold.train.graph import TYPES
from twofold.train.layers import ConvLayer, QuantLayer
from twofold.train.lower import HANDLERS, Lowering
from twofold.train.own_weights import LAYERS
from twofold.train.pointwise import FUNCTIONS
from twofold.train.pool_layers import AverageLayer
from twofold.train.resize import BilinearLayer, ResizeLayer

#: Arguments of the examples, of layers that have to have any.
ARGUMENTS: Mapping[str, tuple[Any, ...]] = {
    **dict.fromkeys(("Conv1d", "Conv2d"), (4, 4, 3)),
    **dict.fromkeys(("ConvTranspose1d", "ConvTranspose2d"), (4, 4, 2, 2)),
    **dict.fromkeys(("BatchNorm1d", "BatchNorm2d"), (4,)),
    **dict.fromkeys(("MaxPool1d", "MaxPool2d", "AvgPool1d", "AvgPool2d"), (2,)),
    **dict.fromkeys(("AdaptiveAvgPool1d", "AdaptiveAvgPool2d", "AdaptiveMaxPool1d", "AdaptiveMaxPool2d"), (3,)),
    **dict.fromkeys(("ZeroPad1d", "ZeroPad2d"), (1,)),
    **dict.fromkeys(("ConstantPad1d", "ConstantPad2d"), (1, 0.0)),
    **dict.fromkeys(("ChannelShuffle", "PixelShuffle", "PixelUnshuffle"), (2,)),
    **dict.fromkeys(("Upsample", "UpsamplingNearest2d", "UpsamplingBilinear2d"), (None, 2)),
    "Linear": (144, 5),
    "Unflatten": (1, (2, 2)),
}
#: What has to stand between an example and the convolution before it, or after it.
_BEFORE, _AFTER = {"Linear": nn.Flatten()}, {"Unflatten": nn.Flatten(1, 2)}


def outcome(kind: str) -> str:
    """What becomes of a layer of that name, in words."""
    series = kind.endswith("1d")
    conv, shape = (nn.Conv1d, (4, 6)) if series else (nn.Conv2d, (4, 6, 6))
    layer: nn.Module = TYPES[kind](*ARGUMENTS.get(kind, ()))
    first, around = conv(4, 4, 1), (_BEFORE.get(kind, nn.Identity()), _AFTER.get(kind, nn.Identity()))
    parts = [first, around[0], layer.eval(), around[1]]
    with torch.no_grad():
        between = nn.Sequential(*parts)(torch.zeros(2, *shape))
    last = nn.Linear(between.shape[1], 2) if between.dim() == 2 else conv(between.shape[1], 2, 1)
    model = nn.Sequential(*parts, last)
    before, *middle, after = Lowering(model, InputFormat(shape, 8, True, 1 / 64)).run()
    assert isinstance(before, ConvLayer) and isinstance(after, ConvLayer)
    if middle:
        return " and ".join(map(_described, middle))
    if before.function is not None:
        return "a table behind the layer before"
    if before.relu or not torch.equal(before.weight.flatten(), first.get_parameter("weight").flatten()):
        return "part of the layer before"
    return "part of the layer behind" if any(after.padding) else "nothing"


def _described(layer: QuantLayer) -> str:
    """A layer in words."""
    parts, branches = 1, 1
    if isinstance(layer, ConvLayer) and layer.transposed:
        axes = zip(layer.weight.shape[2:], layer.stride, layer.begin, layer.dilation, layer.shape[1:], strict=True)
        parts = prod(len(axis_phases(*axis)) for axis in axes)
    elif isinstance(layer, ResizeLayer):
        parts = prod(layer.factor)
    elif isinstance(layer, BilinearLayer):
        parts = len(list(layer.parts()))
    elif isinstance(layer, AddLayer):
        branches = len(layer.skips)
    elif isinstance(layer, AverageLayer):
        assert len(layer.rows) == len(layer.columns) == 1
    what = "a layer of copies" if layer.copies and layer.kind == "add" else "a layer"
    return what + (f", in {parts} parts" if parts > 1 else "") + (f", of {branches} branches" if branches > 1 else "")


def becomes() -> str:
    """Layers by what becomes of them, in Markdown."""
    found: dict[str, list[str]] = {}
    for kind in TYPES:
        given = ", ".join(map(repr, ARGUMENTS.get(kind, ())))
        found.setdefault(outcome(kind), []).append(f"{kind}({given})" if given else kind)
    lines = ["| becomes | layer |", "|---|---|"]
    return "\n".join(
        lines + [f"| {what} | {', '.join(f'`{one}`' for one in kinds)} |" for what, kinds in found.items()]
    )


def table() -> str:
    """Modules, and functions, methods and operators, in Markdown."""
    calls = sorted({*HANDLERS, *LAYERS, *FUNCTIONS})
    rows = {
        "modules of `torch.nn`": TYPES,
        "functions and methods of PyTorch and of Python, in place (`add_`) too, and operators of ATen": calls,
        "those of them that take weights, which must be the model's own": sorted(LAYERS),
        "those of them that are looked up in tables": sorted(FUNCTIONS),
        "where they and others are functions of one tensor, looked up together": sorted(NAMES),
    }
    lines = ["| kind | names |", "|---|---|"]
    lines += [f"| {kind} | {', '.join(f'`{name}`' for name in names)} |" for kind, names in rows.items()]
    return "\n".join(lines)


if __name__ == "__main__":
    print(table(), becomes(), sep="\n\n")
